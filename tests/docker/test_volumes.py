"""Who may write into a volume, and what a volume that holds something is spared."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker.types import Mount

from paictl.blueprint.types import Blueprint, RuntimePin, Volume
from paictl.drivers.docker.driver import DockerDriver
from paictl.drivers.docker.execution import run
from paictl.drivers.docker.uploads import put_text
from paictl.engine.driver import Scope
from paictl.engine.fingerprint import fingerprint
from paictl.engine.model import Resource, Step
from paictl.errors import Refused
from paictl.events import ignore
from paictl.render.docker import files as docker_files
from tests.docker import stock
from tests.docker.compose import compose_command
from tests.docker.conftest import Reached
from tests.docker.small import service
from tests.drivers.docker.stack import Stack, made_stack
from tests.ports import free_port
from tests.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.slow]

IMAGE = "paictl-test/base:bookworm"
OURS = "65532:65532"


@pytest.fixture
def stack(engine: Reached, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    with made_stack(IMAGE) as made:
        yield made


def make(stack: Stack, *resources: Resource) -> None:
    """As the executor does, one by one, with the fingerprints that the planner gives."""
    for resource in resources:
        step = Step(
            f"create:{resource.address}",
            resource.address,
            "create",
            "the test wants it",
            resource=resource,
            fingerprint=fingerprint(resource.spec),
        )
        stack.driver().act(step, secrets=stack.secrets, emit=ignore)


def make_all(stack: Stack, **changes: Any) -> None:
    """Everything that the service needs, and the service; its image has no directory where the volume goes."""
    needed = [one for one in stack.resources() if one.address.kind != "service"]
    make(stack, *needed, stack.service("inner", "volume/door", **changes))


def said(stack: Stack, script: str, user: str = "") -> str:
    """What a shell command says inside the service's container."""
    container = f"{stack.agent}-inner-1"
    until(lambda: bool(stack.api.inspect_container(container)["State"]["Running"]), "it runs")
    done = run(stack.driver().connection, container, ["sh", "-c", script], user=user)
    return (done.stdout + done.stderr).decode().strip()


def test_a_new_volume_belongs_to_its_service_where_the_image_has_no_such_directory(stack: Stack) -> None:
    make_all(stack)
    assert said(stack, "stat -c %u:%g /data; touch /data/note; ls /data") == f"{OURS}\nnote"
    assert not stack.api.containers(all=True, filters={"label": [f"paictl.agent={stack.agent}", "paictl.kind=upload"]})


def test_what_a_person_put_into_a_volume_keeps_its_owner_and_content(stack: Stack) -> None:
    needed = [one for one in stack.resources() if one.address.kind != "service"]
    make(stack, *needed)
    marks = {"paictl.agent": stack.agent, "paictl.kind": "upload"}
    put_text(stack.driver().connection, stack.engine_name("door"), IMAGE, {"diary": "kept"}, marks)
    make(stack, stack.service("inner", "volume/door"))
    assert said(stack, "stat -c %u:%g:%a /data /data/diary; cat /data/diary") == "0:0:755\n0:0:444\nkept"


def test_a_service_made_anew_finds_its_volume_as_it_left_it(stack: Stack) -> None:
    make_all(stack)
    said(stack, "echo kept >/data/diary; chmod 0710 /data")
    stack.say["inner"] = "another"
    make_all(stack)
    assert said(stack, "stat -c %u:%g:%a /data; cat /data/diary") == f"{OURS}:710\nkept"


def test_a_directory_that_the_image_has_gives_the_volume_its_owner(stack: Stack) -> None:
    mounts = [{"type": "volume", "source": "door", "target": "/var/tmp"}]
    make_all(stack, volumes=mounts)
    assert said(stack, "stat -c %u:%g:%a /var/tmp; touch /var/tmp/x && echo written") == "0:0:1777\nwritten"


def test_a_volume_that_the_image_would_fill_stays_empty_when_it_is_told_to(stack: Stack) -> None:
    mounts = [{"type": "volume", "source": "door", "target": "/etc/apt", "volume": {"nocopy": True}}]
    make_all(stack, volumes=mounts)
    assert said(stack, "stat -c %u:%g /etc/apt; ls -A /etc/apt | wc -l") == f"{OURS}\n0"


@pytest.mark.promise(12)
def test_a_volume_with_data_is_not_made_anew_for_other_options(stack: Stack) -> None:
    make_all(stack)
    said(stack, "echo kept >/data/diary")
    stack.api.remove_container(f"{stack.agent}-inner-1", force=True)
    wanted = next(one for one in stack.resources() if one.holds_data)
    other = replace(wanted, spec={**wanted.spec, "options": {"type": "tmpfs", "device": "tmpfs"}})
    with pytest.raises(Refused, match="has other options than it was made with, and may hold data"):
        make(stack, other)
    make_all(stack)
    assert said(stack, "cat /data/diary") == "kept"


def _compose_project(engine: Reached, folder: Path) -> tuple[Blueprint, Callable[..., str]]:
    """A rendered folder whose image is built from what the rendered Dockerfile says of directories, and what runs Compose there."""
    agent = f"t{secrets.token_hex(4)}"
    store = service("store", uid=1234, public=free_port(), volumes=(Volume("store-data", "/data"),))
    store = replace(store, upstream=replace(store.upstream, reference=stock.base(engine.api)))  # type: ignore[type-var] # it is others'
    blueprint = Blueprint(agent, "alice", "here", RuntimePin("0", "0" * 64), (store,))
    for path, text in docker_files(blueprint).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    written = (folder / "image" / "Dockerfile").read_text(encoding="utf-8")
    [made] = re.findall(r"(install -d -o .*?)\n+ENV", written, re.DOTALL)
    lines = (f"FROM {stock.base(engine.api)}", f"RUN {made}", "USER 65532:65532", 'ENTRYPOINT ["python3"]')
    (folder / "image" / "Dockerfile").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def compose(*arguments: str) -> str:
        command = [*compose_command(engine.host), *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return blueprint, compose


def test_compose_alone_gives_a_new_volume_to_its_service_and_alters_none_that_holds_something(
    engine: Reached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    blueprint, compose = _compose_project(engine, tmp_path)
    look = ("exec", "-T", "store", "sh", "-c")
    try:
        compose("up", "--build", "--detach", "--wait")
        assert compose(*look, "stat -c %u:%g /data; echo kept >/data/diary; chmod 0710 /data") == "1234:1234\n"
        compose("down", "--timeout", "1")
        host = engine.api.create_host_config(mounts=[Mount("/it", f"{blueprint.agent}_store-data")])
        image, marks = stock.base(engine.api), {"paictl.test": blueprint.agent}
        by_hand = engine.api.create_container(image, ["chown", "4321", "/it"], host_config=host, labels=marks)["Id"]
        engine.api.start(by_hand)
        engine.api.wait(by_hand)
        engine.api.remove_container(by_hand)
        compose("up", "--detach", "--wait")
        assert compose(*look, "stat -c %u:%g:%a /data; id -u") == "4321:1234:710\n1234\n"
        hardened = engine.api.inspect_container(f"{blueprint.agent}-folders-1")
        assert hardened["Config"]["User"] == "65532:65532"
        assert hardened["HostConfig"]["CapDrop"] == ["ALL"]
        assert not hardened["HostConfig"]["CapAdd"]
        # An apply would take the job away, before the volume that it holds.
        driver = DockerDriver()
        found = driver.observe(Scope(blueprint.agent, "here")).resources
        driver.connection.close()
        [job] = [one for one in found if one.address.kind == "job"]
        assert (job.address.name, job.owner, job.health.state) == ("folders", "mine", "healthy")
        assert [str(one) for one in job.depends_on] == ["volume/store-data"]
    finally:
        compose("down", "--volumes", "--rmi", "local", "--timeout", "1")
