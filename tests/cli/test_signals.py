"""Two at once, Ctrl-C, SIGTERM, --timeout: one wins, nothing is left half-written, the next apply goes on."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.cli.conftest import World


@contextmanager
def hanging(world: World, *args: str) -> Iterator[subprocess.Popen[str]]:
    """An apply that waits for a service that does not become healthy; it has got that far when the block begins."""
    world.fault(health={"service/agent": ["starting"]})
    process = world.start("apply", "-y", "-o", "json", *args)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["type"] == "health" and event["address"] == "service/agent":
                break
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def recovered(world: World) -> bool:
    world.faults.unlink()
    done = world.run("apply", "-y")
    return done.returncode == 0 and bool(world.document("status")["ready"])


@pytest.mark.promise(16)
def test_of_two_applies_one_wins_and_the_other_names_it(world: World) -> None:
    with hanging(world) as first:
        second = world.run("apply", "-y", "-o", "json")
        assert second.returncode == 4
        error = json.loads(second.stderr)["error"]
        assert error["code"] == "lock-held"
        assert f"process {first.pid}" in error["summary"]
        assert "apply" in error["summary"]


def test_whoever_waits_for_the_lock_can_be_interrupted(world: World) -> None:
    with hanging(world):
        second = world.start("apply", "-y", "--lock-timeout", "60s", "-v")
        # It waits when it sleeps between two tries; before, the interruption ends it all the same.
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(1.5)
        second.send_signal(signal.SIGINT)
        _, err = second.communicate(timeout=30)
        assert second.returncode == 130
        assert "Traceback" not in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_an_apply_consistently(world: World, number: signal.Signals, code: int) -> None:
    with hanging(world) as process:
        process.send_signal(number)  # no new steps
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["type"] == "warning":
                break
        process.send_signal(number)  # and no waiting either
        out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert json.loads(out.splitlines()[-1])["exit_code"] == code
    assert json.loads(err)["error"]["code"] == "interrupted"
    assert recovered(world)


def test_timeout_gives_up_part_way_with_exit_code_5(world: World) -> None:
    with hanging(world, "--timeout", "5s") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "gave up after 5 s" in json.loads(err)["error"]["summary"]
    assert json.loads(out.splitlines()[-1])["ok"] is False
    assert recovered(world)


def test_timeout_before_anything_began_is_a_plain_failure(world: World) -> None:
    with hanging(world):
        second = world.run("apply", "-y", "--lock-timeout", "60s", "--timeout", "1s")
    assert second.returncode == 1
    assert "gave up after 1 s" in second.stderr
