"""After the machine restarts: the unit that systemd accepts, and the secrets that come back from their originals."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from paictl.drivers.native.processes import end, marked
from paictl.drivers.native.supervision import look
from paictl.drivers.native.units import unit_path
from tests.drivers.native.conftest import World
from tests.drivers.native.test_life import healthy
from tests.waiting import until


@pytest.fixture
def booting(world: World) -> World:
    world.blueprint = replace(world.blueprint, start_on_boot=True)
    world.stand_up()
    return world


def test_the_unit_is_enabled_and_systemd_accepts_it(booting: World, tmp_path: Path) -> None:
    path = unit_path("trial")
    link = path.parent / "default.target.wants" / path.name
    assert link.resolve() == path
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", path],
        capture_output=True,
        text=True,
        check=False,
        # Its own manager for the check wants a place, which a session without systemd doesn't have.
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_where_no_user_manager_runs_it_says_what_to_do(booting: World) -> None:
    warnings = {str(one.data["code"]): str(one.data["text"]) for one in booting.events if one.type == "warning"}
    if not Path("/var/lib/systemd/linger", getpass.getuser()).exists():
        assert f"loginctl enable-linger {getpass.getuser()}" in warnings["no-linger"]
    if "DBUS_SESSION_BUS_ADDRESS" not in os.environ and not os.environ.get("XDG_RUNTIME_DIR"):
        assert str(unit_path("trial")) in warnings["no-user-manager"]


def test_an_edited_or_disabled_unit_shows_and_is_mended(booting: World) -> None:
    path = unit_path("trial")
    (path.parent / "default.target.wants" / path.name).unlink()
    path.write_text(path.read_text() + "# by hand\n")
    assert booting.differences() == ["unit/boot"]
    booting.stand_up()
    assert booting.differences() == []


def test_a_manifest_that_no_longer_asks_for_it_removes_it(booting: World) -> None:
    booting.blueprint = replace(booting.blueprint, start_on_boot=False)
    assert booting.differences() == ["unit/boot"]
    booting.stand_up()
    assert not unit_path("trial").exists()


def test_what_the_unit_runs_brings_generated_secrets_and_services_back(booting: World) -> None:
    token = (booting.layout.secrets / "token").read_bytes()
    end(marked(booting.layout))
    shutil.rmtree(booting.layout.volatile)
    lines = unit_path("trial").read_text().splitlines()
    commands = {
        key: value.split() for key, _, value in (line.partition("=") for line in lines) if key.startswith("Exec")
    }
    environment = {"PATH": os.environ["PATH"], "PAICTL_MARK": booting.layout.mark}
    prepared = subprocess.run(
        commands["ExecStartPre"], env=environment, capture_output=True, text=True, check=True, cwd=booting.layout.root
    )
    assert "run `paictl apply`: secrets/declared" in prepared.stderr
    assert (booting.layout.secrets / "token").read_bytes() == token
    assert (booting.layout.secrets / "token").stat().st_mode & 0o777 == 0o400
    with subprocess.Popen(commands["ExecStart"], env=environment, stdout=subprocess.DEVNULL) as supervisor:
        try:
            until(lambda: look(booting.layout) is not None, "the supervisor answers")
            until(healthy(booting, "inner"), "inner is healthy")
            assert "secret/declared" in booting.differences()
            assert "supervisor/main" not in booting.differences()
            booting.stand_up()
            assert booting.differences() == []
            booting.tear_down()
        finally:
            supervisor.terminate()


def test_a_service_whose_secret_is_gone_says_so_in_its_log(world: World) -> None:
    world.stand_up()
    (world.layout.secrets / "declared").unlink()
    world.kill("service/door")
    said: list[str] = []

    def told() -> bool:
        said.append(world.driver.probe(world.resource("service/door")).detail)
        return "run `paictl apply`" in said[-1]

    until(told, "it is said")
    assert "secrets/declared is not on this machine any more" in said[-1]


def test_a_generated_secret_that_vanished_comes_back_with_the_next_start(world: World) -> None:
    """Logging out may empty the user's tmpfs while the agent runs on."""
    world.stand_up()
    token = world.layout.secrets / "token"
    value = token.read_bytes()
    token.unlink()
    world.kill("service/inner")
    until(token.exists, "it is back")
    assert token.read_bytes() == value
