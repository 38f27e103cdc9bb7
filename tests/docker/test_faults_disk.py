"""An engine whose disk is full, or holds on to what is to go: told with what to do, and mended by the next apply once it can."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from paictl.drivers.docker import uploads
from paictl.drivers.docker.naming import UPLOAD, labels
from paictl.errors import PaictlError, PartlyApplied
from paictl.events import ignore
from tests.docker import stock
from tests.docker.conftest import Reached
from tests.docker.daemon import Engine
from tests.docker.desk import Desk, made_desk

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.parametrize("private_engine", [64], indirect=True)]

_SAYS = [
    "sh",
    "-c",
    "cat /srv/paictl/config/it.json; echo; touch /tmp/ready; trap exit TERM; while sleep 0.1; do :; done",
]
_FULL = "no space left on device"
_ROOM = "Make room on the disk of the engine"


@pytest.fixture
def small(private_engine: Engine) -> Iterator[Reached]:
    client = docker.APIClient(base_url=private_engine.host, version="auto")
    yield Reached(private_engine.host, client)
    client.close()


@pytest.fixture
def desk(small: Reached, tmp_path: Path) -> Iterator[Desk]:
    with made_desk(small, tmp_path, stock.tiny(small.api)) as made:
        yield made


@contextmanager
def _filled(engine: Engine, spare_kilobytes: int = 0) -> Iterator[None]:
    """Somebody else's file takes all the room there is, but for that."""
    filler = engine.data / "filler"
    script = f"dd if=/dev/zero of={filler} bs=4k 2>/dev/null; truncate --size=-{spare_kilobytes}K {filler}"
    assert engine.inside(["sh", "-c", script]) == 0
    try:
        yield
    finally:
        engine.inside(["rm", str(filler)])


def test_an_apply_on_a_full_disk_says_so_and_the_next_one_goes_on_from_there(
    desk: Desk, private_engine: Engine
) -> None:
    data = next(one for one in desk.stack.resources() if one.address.name == "door")
    outer = desk.stack.service("outer", "service/inner", "volume/door", command=_SAYS)
    wanted = [*desk.alone(command=_SAYS), data, outer]
    failures: list[PaictlError] = []
    # At each size it is another write that fails.
    for spare in (0, 24, 48, 72, 96, 120, 144):
        with _filled(private_engine, spare):
            try:
                desk.apply(wanted)
            except PaictlError as error:
                failures.append(error)
            else:
                break
            assert not desk.reconciler().status().ready
    assert any(isinstance(one, PartlyApplied) for one in failures)
    assert all(_FULL in one.summary and _ROOM in one.summary + one.help for one in failures)
    desk.apply(wanted)
    assert desk.plan(wanted) == ""
    assert desk.reconciler().status().ready
    assert list(desk.driver.logs(desk.stack.scope, "outer", tail=1, follow=False)) == ['{"say": "hello"}']


def test_a_model_file_that_does_not_fit_is_not_taken_for_one_and_comes_whole_when_there_is_room(
    desk: Desk, private_engine: Engine, tmp_path: Path
) -> None:
    connection, volume = desk.driver.connection, desk.stack.engine_name("models")
    source = tmp_path / "model.gguf"
    source.write_bytes(os.urandom(4 << 20))
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    file = uploads.ModelFile(volume, "model.gguf", sha256, source.stat().st_size, source)
    marks = labels(desk.stack.scope, UPLOAD, "model")
    connection.api.create_volume(volume)
    with _filled(private_engine, 2 << 10):
        for _ in range(2):
            with pytest.raises(PaictlError) as caught:
                uploads.put_weights(connection, file, desk.stack.image, marks, ignore)
            assert _FULL in caught.value.summary
            assert _ROOM in caught.value.help
    uploads.put_weights(connection, file, desk.stack.image, marks, ignore)
    host = connection.api.create_host_config(binds=[f"{volume}:/models"])
    name = f"{desk.stack.agent}-look"
    looking = connection.api.create_container(desk.stack.image, name=name, host_config=host)["Id"]
    assert uploads.stat(connection, looking, "/models/model.gguf") == (file.size, uploads.stamp(sha256))


@pytest.mark.promise(14)
def test_a_container_that_the_engine_could_not_remove_is_told_and_made_anew_once_it_can(
    desk: Desk, private_engine: Engine
) -> None:
    resources = desk.alone(command=_SAYS)
    desk.apply(resources)
    kept = private_engine.data / "containers" / desk.inspect()["Id"] / "kept"
    if private_engine.inside(["sh", "-c", f"touch {kept} && chattr +i {kept}"]) != 0:
        pytest.skip("nothing in memory can be made immutable here")
    with pytest.raises(docker.errors.APIError, match="unable to remove filesystem"):
        desk.api.remove_container(desk.container(), force=True)
    assert desk.inspect()["State"]["Status"] == "dead"
    health = desk.status("service/inner").health
    assert "the engine could not remove it whole, and left it dead: unable to remove filesystem" in health.detail
    error, _ = desk.refused(resources, PartlyApplied)
    assert "operation not permitted" in error.summary
    assert "protects or uses that path" in error.summary + error.help
    private_engine.inside(["chattr", "-i", str(kept)])
    desk.apply(resources)
    assert desk.plan(resources) == ""
    assert desk.reconciler().status().ready
