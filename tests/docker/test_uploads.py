from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tracemalloc
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from docker.types import Mount

from paictl.drivers.docker.connection import Connection, connect
from paictl.drivers.docker.uploads import ModelFile, fetch_text, put_text, put_weights, stamp, stat
from paictl.errors import PaictlError
from paictl.events import Event, ignore
from tests.docker.conftest import Reached
from tests.waiting import until

pytestmark = pytest.mark.docker

# Dies, as by a kill, when half of the file has travelled.
DYING = """
import os, signal, sys
from pathlib import Path
from paictl.drivers.docker.connection import connect
from paictl.drivers.docker.uploads import ModelFile, put_weights
volume, image, path, sha256, size, source = sys.argv[1:]
def emit(event):
    if event.data["done"] * 2 >= event.data["total"]:
        os.kill(os.getpid(), signal.SIGKILL)
put_weights(connect(), ModelFile(volume, path, sha256, int(size), Path(source)), image, {"paictl.test": volume}, emit)
"""


@dataclass
class World:
    """A volume, an image with nothing in it, and who looks into the volume as a service would: without writing."""

    connection: Connection
    image: str
    folder: Path
    volume: str = ""
    reader: str = ""
    events: list[Event] = field(default_factory=list)

    @property
    def labels(self) -> dict[str, str]:
        return {"paictl.test": self.volume}

    def carriers(self) -> list[str]:
        filters = {"label": [f"paictl.test={self.volume}"], "volume": [self.volume]}
        return [one["Id"] for one in self.connection.api.containers(all=True, filters=filters)]

    def put(self, files: dict[str, str]) -> None:
        put_text(self.connection, self.volume, self.image, files, self.labels)

    def weights(self, content: bytes) -> ModelFile:
        source = self.folder / "model.gguf"
        source.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        return ModelFile(self.volume, "model.gguf", digest, len(content), source, "weights/chat")

    def upload(self, file: ModelFile) -> None:
        put_weights(self.connection, file, self.image, self.labels, self.events.append)

    def stands(self, file: ModelFile) -> bool:
        return stat(self.connection, self.reader, f"/seen/{file.path}") == (file.size, stamp(file.sha256))


@pytest.fixture
def world(engine: Reached, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    name = f"paictl-test-{uuid.uuid4().hex[:12]}"
    api = engine.api
    api.import_image_from_data(bytes(1024), repository=name, tag="1")
    made = World(connect(), f"{name}:1", tmp_path)
    with _with_volume(made, engine, name, {}):
        yield made
    made.connection.close()
    api.remove_image(f"{name}:1")


@contextmanager
def _with_volume(made: World, engine: Reached, name: str, options: dict[str, str]) -> Iterator[World]:
    api = engine.api
    made.volume = str(api.create_volume(name, driver_opts=options, labels={"paictl.test": name})["Name"])
    host = api.create_host_config(mounts=[Mount("/seen", name, read_only=True, no_copy=True)], read_only=True)
    made.reader = api.create_container(made.image, command=["x"], host_config=host)["Id"]
    try:
        yield made
    finally:
        for one in api.containers(all=True, filters={"volume": [name]}):
            api.remove_container(one["Id"], force=True)
        api.remove_volume(name)


def test_a_service_that_mounts_it_read_only_sees_the_files_that_were_put(world: World) -> None:
    world.put({"config.json": '{"ä": 1}\n', "more/deep.conf": "x"})
    assert fetch_text(world.connection, world.reader, "/seen/config.json") == '{"ä": 1}\n'
    assert fetch_text(world.connection, world.reader, "/seen/more/deep.conf") == "x"
    assert fetch_text(world.connection, world.reader, "/seen/other") is None
    world.put({"config.json": "new"})
    assert fetch_text(world.connection, world.reader, "/seen/config.json") == "new"
    assert not world.carriers()


def test_a_volume_that_is_not_there_is_not_made_in_passing(world: World) -> None:
    with pytest.raises(PaictlError, match="no such volume"):
        put_text(world.connection, f"{world.volume}-other", world.image, {"a": "b"}, world.labels)
    assert world.connection.api.volumes(filters={"name": [f"{world.volume}-other"]})["Volumes"] in ([], None)


def test_a_model_file_is_uploaded_once_and_known_again_without_being_read(world: World) -> None:
    file = world.weights(b"weights " * 300_000)
    assert not world.stands(file)
    world.upload(file)
    assert world.stands(file)
    assert [event.address for event in world.events] == ["weights/chat"] * len(world.events)
    assert world.events[-1].data == {"what": "upload model.gguf", "done": file.size, "total": file.size}
    world.events.clear()
    world.upload(file)
    assert not world.events
    assert not world.carriers()


def test_a_model_file_that_was_altered_or_cut_off_is_told_and_uploaded_again(world: World) -> None:
    file = world.weights(b"weights " * 300_000)
    for content in ("short", "altered " * 300_000):
        world.upload(file)
        world.put({"model.gguf": content})
        assert not world.stands(file)
    world.upload(file)
    assert world.stands(file)


@pytest.mark.promise(14)
def test_an_upload_that_was_killed_is_done_again_and_leaves_nothing(world: World) -> None:
    file = world.weights(b"weights " * 1_000_000)
    command = [sys.executable, "-c", DYING, world.volume, world.image, file.path, file.sha256, str(file.size)]
    for _ in range(2):
        assert subprocess.run([*command, file.source], check=False).returncode == -9
        assert not world.stands(file)
        assert len(world.carriers()) == 1
    world.upload(file)
    assert world.stands(file)
    assert not world.carriers()


@pytest.mark.parametrize("content", [b"another " * 400_000, b"weights " * 399_999, b"weights " * 400_001, b""])
def test_a_source_that_is_another_file_never_stands_as_the_one_that_was_meant(world: World, content: bytes) -> None:
    file = world.weights(b"weights " * 400_000)
    file.source.write_bytes(content)
    with pytest.raises(PaictlError, match=r"is not the file with the sha256 [0-9a-f]{64} that was locked"):
        world.upload(file)
    assert not world.stands(file)
    assert not world.carriers()


def test_an_image_that_asks_for_a_volume_by_itself_leaves_none(world: World) -> None:
    """As Postgres's does: each container of it, started or not, is given one without a name."""
    api = world.connection.api

    def nameless() -> set[str]:
        found = (one["Name"] for one in api.volumes()["Volumes"] or ())
        return {name for name in found if re.fullmatch("[0-9a-f]{64}", name)}

    asking, before = f"{world.image}-asking", nameless()
    repository, _, tag = asking.rpartition(":")
    api.import_image_from_data(bytes(1024), repository=repository, tag=tag, changes=["VOLUME /asked"])
    try:
        put_text(world.connection, world.volume, asking, {"note": "here"}, world.labels)
        # Other tests may have one for a moment, too.
        until(lambda: nameless() <= before, "nothing is left")
    finally:
        api.remove_image(asking)


def test_a_file_that_changed_on_its_way_is_not_taken_for_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file, api = world.weights(b"weights " * 400_000), world.connection.api
    put_archive = api.put_archive

    def flipping(container: str, path: str, data: bytes | Iterator[bytes]) -> bool:
        if isinstance(data, bytes):
            return put_archive(container, path, data)
        monkeypatch.undo()
        whole = bytearray(b"".join(data))
        whole[100_000] ^= 1
        return put_archive(container, path, bytes(whole))

    monkeypatch.setattr(api, "put_archive", flipping)
    with pytest.raises(PaictlError, match=r"is not in the volume .* as it was sent there"):
        world.upload(file)
    assert not world.stands(file)


def test_an_empty_file_is_a_file_too(world: World) -> None:
    file = world.weights(b"")
    world.upload(file)
    assert world.stands(file)


def test_the_file_of_a_container_that_is_gone_is_an_error_and_not_missing(world: World) -> None:
    assert stat(world.connection, world.reader, "/seen/model.gguf") is None
    world.connection.api.remove_container(world.reader)
    with pytest.raises(PaictlError, match=r"[Nn]o such container"):
        stat(world.connection, world.reader, "/seen/model.gguf")


def test_a_full_disk_is_told_and_nothing_half_is_taken_for_whole(world: World, engine: Reached) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    with _with_volume(replace(world), engine, f"{world.volume}-small", options) as small:
        file = small.weights(b"weights " * 400_000)
        with pytest.raises(PaictlError, match="no space left on device"):
            small.upload(file)
        assert not small.stands(file)
        assert not small.carriers()


@pytest.mark.slow
def test_a_large_file_travels_in_constant_memory(world: World) -> None:
    source, size = world.folder / "large", 300 << 20
    with source.open("wb") as made:
        made.truncate(size)
    digest = hashlib.sha256()
    for _ in range(300):
        digest.update(bytes(1 << 20))
    file = ModelFile(world.volume, "large", digest.hexdigest(), size, source)
    put_text(world.connection, world.volume, world.image, {"warm": "up"}, world.labels)
    tracemalloc.start()
    put_weights(world.connection, file, world.image, world.labels, ignore)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert world.stands(file)
    assert peak < 16 << 20
