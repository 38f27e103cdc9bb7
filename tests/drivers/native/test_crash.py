"""Killed in the middle, on real processes and real files: the next run ends where an uninterrupted one would have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paictl.drivers.native.processes import marked
from tests.drivers.native.conftest import World
from tests.waiting import until

pytestmark = [pytest.mark.promise(14), pytest.mark.slow]


def killed(world: World, verb: str, point: str, subject: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.drivers.native.killed",
            verb,
            point,
            subject,
            str(world.blueprint.public[1].port),
        ],
        cwd=Path(__file__).parents[3],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, f"{point} {subject} was not reached: {done.stderr}"


@pytest.mark.parametrize(
    ("point", "subject"),
    [
        ("after-begin", "create:directory/home"),
        ("after-effect", "create:directory/home"),
        ("after-begin", "create:supervisor/main"),
        ("after-effect", "create:supervisor/main"),
        ("during-wait", "create:service/inner"),
        ("after-effect", "create:secret/token"),
        ("after-end", "create:service/room"),
    ],
)
def test_an_apply_killed_anywhere_is_finished_by_the_next_one(world: World, point: str, subject: str) -> None:
    killed(world, "apply", point, subject)
    world.stand_up()
    assert world.differences() == []
    # One supervisor, its services, and nobody else: asked until it is so, since what ends takes a moment to be gone.
    until(lambda: len(marked(world.layout)) == 1 + len(world.blueprint.services), "one of each runs")
    assert len(world.supervisors()) == 1


@pytest.mark.parametrize(
    ("point", "subject"),
    [
        ("after-effect", "delete:service/inner"),
        ("after-effect", "delete:supervisor/main"),
        ("after-begin", "delete:directory/home"),
        ("after-effect", "delete:directory/home"),
    ],
)
def test_a_destroy_killed_anywhere_is_finished_by_the_next_one(world: World, point: str, subject: str) -> None:
    world.stand_up()
    killed(world, "destroy", point, subject)
    world.tear_down()
    assert marked(world.layout) == []
    assert not world.layout.volatile.exists()
    assert world.addresses() == ["directory/keys", "volume/door", "volume/inner", "volume/room"]
    kept = {one.relative_to(world.layout.root).as_posix() for one in (world.layout.root / "records").rglob("*.json")}
    assert kept == {"records/directory/keys.json", *(f"records/volume/{one}.json" for one in ("door", "inner", "room"))}


def test_what_a_kill_left_under_temporary_names_goes_with_the_home(world: World) -> None:
    world.stand_up()
    root = world.layout.root
    (root / "records" / "file" / ".door.json.4711").write_text("{")
    (root / "keys" / ".token.4711").write_bytes(b"half")
    (root / "venv" / ".7e577e577e577e57.4711" / "lib").mkdir(parents=True)
    (root / "venv" / ".7e577e577e577e57.4711.gone" / "lib").mkdir(parents=True)
    world.tear_down(data=True)
    assert not root.exists()
