"""What can't work is told before anything changes, with what to do."""

from __future__ import annotations

import socket
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from paictl.blueprint.types import Limits, RuntimePin, Weights
from paictl.engine.model import Observation
from paictl.errors import Refused
from tests.drivers.native.conftest import World

NOTHING = Observation(())


def refused(world: World) -> Refused:
    with pytest.raises(Refused) as raised:
        world.driver.preflight(world.blueprint, NOTHING)
    assert raised.value.help
    assert not world.layout.root.exists()
    return raised.value


@pytest.mark.real
def test_nothing_in_the_way_is_no_reason_to_refuse(confined: World) -> None:
    confined.driver.preflight(confined.blueprint, NOTHING)


def test_a_taken_port_is_named_with_the_process_that_has_it(world: World) -> None:
    _, endpoint = world.blueprint.public
    me = psutil.Process()
    with socket.create_server((endpoint.bind, endpoint.port)):
        summary = refused(world).summary
    assert summary == f"port {endpoint.port} on 127.0.0.1 is taken by {me.name()} (pid {me.pid})"


def test_our_own_gateway_on_its_port_is_not_in_the_way(world: World) -> None:
    world.stand_up()
    world.driver.preflight(world.blueprint, world.driver.observe(world.scope))


def test_a_missing_bubblewrap_is_named_with_how_to_get_it(
    confined: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    error = refused(confined)
    assert error.summary == "bubblewrap is not installed, so the agent can't be confined"
    assert "apt-get install bubblewrap" in error.help
    assert "unconfined: true" in error.help


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ('[ "$1" = --version ] && echo bubblewrap 0.8.0 || { echo bwrap: No permissions to create new namespace >&2; exit 1; }',
         "bubblewrap can't make a room here: bwrap: No permissions to create new namespace"),
        ("echo bubblewrap 0.4.1", "bubblewrap 0.4.1 is too old to confine the agent: 0.8 is needed"),
    ],
)  # fmt: skip
def test_a_bubblewrap_that_can_t_make_rooms_is_refused_with_its_reason(
    confined: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, says: str
) -> None:
    (tmp_path / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    error = refused(confined)
    assert error.summary == says
    assert "unconfined: true" in error.help


def test_an_unconfined_agent_needs_no_bubblewrap(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    world.driver.preflight(world.blueprint, NOTHING)


def test_a_runtime_that_nobody_has_points_to_the_lock(world: World) -> None:
    world.blueprint = replace(world.blueprint, runtime=RuntimePin("9.9.9", "dead" * 16))
    error = refused(world)
    assert "deaddeaddead (9.9.9)" in error.summary
    assert "paictl lock" in error.help


def test_a_disk_that_is_too_small_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - the shape of shutil's own
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10 << 30, 9 << 30, 1 << 30))
    world.blueprint = replace(
        world.blueprint, weights=(Weights("chat", "models/chat/m.gguf", "file:///m.gguf", "0" * 64, size=2 << 30),)
    )
    assert "has 1024 MiB free, and 2112 MiB are needed there" in refused(world).summary


def test_more_memory_than_the_machine_has_is_refused(world: World) -> None:
    hungry = replace(world.blueprint.services[1], limits=Limits(memory=1 << 50))
    world.blueprint = replace(world.blueprint, services=(world.blueprint.services[0], hungry))
    error = refused(world)
    assert "the services need 1073741824 MiB" in error.summary
    assert "paictl fit" in error.help


@pytest.mark.parametrize("name", ["50%", "a;b", "it's", "a#b", "[x]", "a*"])
def test_a_place_whose_name_configuration_files_would_misread_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / name))
    assert "can't be written into configuration files" in refused(world).summary


def test_a_place_with_a_space_is_fine(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "my data"))
    world.stand_up()
    assert world.differences() == []
    world.tear_down()
