"""What somebody new to Docker gets wrong: each is told with what to do next, before anything is made."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.docker import stock
from tests.docker.conftest import Reached
from tests.docker.home import DockerHome
from tests.story.home import PAICTL, Home

ANOTHER = "If another engine is meant"


@pytest.fixture
def desk(tmp_path: Path) -> Home:
    """The quickstart's manifest for Docker, and no engine that is known to it."""
    home = Home(tmp_path)
    home.prepare()
    home.edit("{driver: native}", "{driver: docker}")
    return home


@pytest.mark.parametrize(
    ("environment", "told", "next_"),
    [
        ({"DOCKER_HOST": "unix:///nowhere.sock"}, "at unix:///nowhere.sock can't be reached: there is no", "`systemctl start docker`"),
        ({"DOCKER_HOST": "tcp://127.0.0.1:1"}, "at tcp://127.0.0.1:1 can't be reached: Connection refused", ANOTHER),
        ({"DOCKER_HOST": "tcp://127.0.0.1"}, "DOCKER_HOST holds no address of a Docker engine: it names no port", "tcp://host:2376"),
        ({"DOCKER_HOST": "my-server"}, "DOCKER_HOST holds no address of a Docker engine", "ssh://user@host"),
        ({"DOCKER_CONTEXT": "office"}, "no Docker context named office, which DOCKER_CONTEXT asks for", "These exist: default."),
    ],
    ids=["no-engine", "nobody-listens", "no-port", "no-address", "no-such-context"],
)  # fmt: skip
@pytest.mark.slow
def test_an_engine_that_can_not_be_reached_is_named_with_the_reason_and_a_next_step(
    environment: Mapping[str, str], told: str, next_: str, desk: Home
) -> None:
    desk.environment |= {"DOCKER_HOST": "", "DOCKER_CONTEXT": "", **environment}
    for words in (["status"], ["apply", "--yes"]):
        said = desk.run(*words, code=1).stderr
        assert told in said
        assert next_ in said
    assert not (desk.manifest.parent / "agent.lock").exists()


def test_a_socket_that_is_not_this_users_says_how_it_becomes_so(desk: Home) -> None:
    path = desk.folder / "s"
    # Root may use every socket, until that right is taken from it.
    limited = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if limited and shutil.which("setpriv") is None:
        pytest.skip("taking a right from root needs setpriv (util-linux)")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0)
        said = subprocess.run(
            [*limited, PAICTL, "plan"],
            cwd=desk.manifest.parent,
            env={**desk.surroundings(), "DOCKER_HOST": f"unix://{path}"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert said.returncode == 1
    assert "can't be reached: Permission denied" in said.stderr
    assert "`sudo usermod -aG docker $USER`" in said.stderr


@pytest.fixture
def home(engine: Reached, tmp_path: Path) -> Iterator[DockerHome]:
    home = DockerHome(tmp_path, agent=f"wrong-{uuid.uuid4().hex[:8]}", reached=engine)
    home.prepare()
    home.edit("{name: atlas,", f"{{name: {home.agent},")
    home.edit("{driver: native}", "{driver: docker}")
    home.edit("spec:\n", f"spec:\n  images: {{base: '{stock.base(engine.api)}'}}\n")
    yield home
    home.clear()


@pytest.mark.docker
@pytest.mark.slow
def test_a_taken_port_is_named_with_who_has_it_by_plan_and_apply(home: DockerHome) -> None:
    with socket.create_server(("127.0.0.1", home.port)):
        planned, applied = home.run("plan"), home.run("apply", "--yes", code=4)
    assert "warning: apply would be refused" in planned.stderr
    for said in (planned.stderr, applied.stderr):
        assert f"port {home.port} on 127.0.0.1 is taken by" in said
        assert "choose another port with `spec.gateway.port`" in said
    assert home.left() == []


@pytest.mark.docker
@pytest.mark.slow
def test_a_base_image_that_is_nowhere_is_named_before_anything_is_made(home: DockerHome) -> None:
    home.edit(stock.base(home.engine.api), "127.0.0.1:1/nobody/nothing:1")
    for words in (["plan"], ["apply", "--yes"]):
        said = home.run(*words, code=1).stderr
        assert "the engine can't get the image 127.0.0.1:1/nobody/nothing:1" in said
        assert re.search(r"help: .*`docker load`.*`spec\.images`", said)
    assert home.left() == []
    assert not (home.manifest.parent / "agent.lock").exists()
