"""The native form as plain files: the supervisor itself reads them, and what a room may see stands in each."""

from __future__ import annotations

import configparser
import json
from dataclasses import replace
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from paictl.blueprint.types import Blueprint
from paictl.render import native
from paictl.render.wiring import by_sockets
from tests.render.blueprints import QUICKSTART, WITH_API_MODEL

every_blueprint = pytest.mark.parametrize("blueprint", [QUICKSTART, WITH_API_MODEL], ids=["quickstart", "api-model"])


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a space, which the supervisor would split at."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "half of it"))
    root = tmp_path / "half of it" / "paictl" / QUICKSTART.agent
    for folder in ("logs", "run/supervisor"):
        (root / folder).mkdir(parents=True)
    return root


@every_blueprint
def test_the_supervisor_reads_the_files_as_they_stand(blueprint: Blueprint, root: Path) -> None:
    for path, text in native.files(blueprint).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    options = ServerOptions()
    options.realize(["-n", "-c", str(root / "supervisor/supervisord.conf")])
    programs = {group.name: group.process_configs[0] for group in options.process_group_configs}
    assert set(programs) == {service.name for service in blueprint.services}
    for service in blueprint.services:
        program = programs[service.name]
        assert program.command.endswith(f"paictl.runtime.boot start --root '{root}' {service.name}")
        assert (program.directory, program.stdout_logfile) == (str(root), str(root / f"logs/{service.name}.log"))
        assert (program.autorestart, program.stopasgroup, program.killasgroup) == (
            options_unconditionally(),
            True,
            True,
        )
        assert program.stdout_logfile_maxbytes > 0


def options_unconditionally() -> object:
    from supervisor.datatypes import RestartUnconditionally

    return RestartUnconditionally


def test_only_the_gateway_has_a_network_and_the_agent_sees_its_socket_and_three_secrets_less() -> None:
    rooms = {service.name: native.room(QUICKSTART, service) for service in QUICKSTART.services}
    assert [name for name, room in rooms.items() if room["network"]] == ["gateway"]
    agent = rooms["agent"]
    assert agent["read"] == ["run/gateway"]
    assert agent["write"] == [volume.path for volume in QUICKSTART.service("agent").volumes]
    assert agent["secrets"] == [f"secrets/{name}" for name in QUICKSTART.service("agent").secrets]
    assert agent["confined"] is True


def test_only_the_public_endpoint_listens_on_tcp() -> None:
    wiring = by_sockets(QUICKSTART)
    addresses = {
        (service.name, endpoint.name): wiring(service.name, endpoint.name)
        for service in QUICKSTART.services
        for endpoint in service.endpoints
    }
    service, endpoint = QUICKSTART.public
    assert addresses.pop((service.name, endpoint.name)) == f"tcp:{endpoint.bind}:{endpoint.port}"
    assert all(address == f"unix:run/{one}/{other}.sock" for (one, other), address in addresses.items())


@pytest.mark.parametrize(("bind", "url"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("192.168.1.5", "192.168.1.5")])
def test_the_address_for_people_is_one_they_can_open(bind: str, url: str) -> None:
    _, endpoint = QUICKSTART.public
    assert replace(endpoint, bind=bind).url == f"http://{url}:{endpoint.port}"


def test_the_supervisor_s_identity_follows_its_file_and_its_runtime(root: Path) -> None:
    paths = native.paths(root, QUICKSTART.runtime.digest)
    text, identity = native.supervisor_config(QUICKSTART, paths)
    parsed = configparser.RawConfigParser()
    parsed.read_string(text)
    assert parsed["supervisord"]["identifier"] == identity
    newer = replace(QUICKSTART, runtime=replace(QUICKSTART.runtime, digest="f" * 64))
    assert native.supervisor_config(newer, paths)[1] != identity
    assert native.supervisor_config(QUICKSTART, replace(paths, socket="/elsewhere"))[1] != identity


def test_the_rooms_are_json_that_a_person_reads(root: Path) -> None:
    text = native.files(QUICKSTART)["supervisor/rooms/agent.json"]
    assert json.loads(text)["module"] == QUICKSTART.service("agent").module
    assert len(text.splitlines()) > 5
