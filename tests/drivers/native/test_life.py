"""An agent's life on this machine: it stands up, is left alone when nothing changed, comes back, and goes without a trace."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from paictl.drivers.native import supervision
from paictl.drivers.native.processes import Process, end, identify, marked
from paictl.drivers.native.units import unit_path
from paictl.errors import PartlyApplied
from tests.drivers.native.conftest import World
from tests.waiting import until


def healthy(world: World, service: str) -> Callable[[], bool]:
    return lambda: world.driver.probe(world.resource(f"service/{service}")).state == "healthy"


@pytest.mark.promise(2)
def test_everything_stands_up_and_a_second_look_finds_nothing_to_do(world: World) -> None:
    world.stand_up()
    assert world.differences() == []


@pytest.mark.real
@pytest.mark.promise(2)
def test_everything_stands_up_in_rooms_and_a_second_look_finds_nothing_to_do(confined: World) -> None:
    confined.stand_up()
    assert confined.differences() == []


@pytest.mark.real
def test_whoever_asks_is_told_that_a_service_runs_without_a_room(world: World) -> None:
    world.stand_up()
    assert world.observed("service/room").health.detail == "it runs without a room (unconfined: true)"
    world.blueprint = replace(world.blueprint, unconfined=False)
    assert set(world.differences()) == {"service/door", "service/inner", "service/room"}
    world.stand_up()
    assert world.observed("service/room").health.detail == ""


def test_observing_writes_nothing(world: World) -> None:
    world.stand_up()
    root = world.layout.root

    def look() -> dict[Path, int]:
        return {path: path.lstat().st_mtime_ns for path in root.rglob("*") if "logs" not in path.parts}

    before = look()
    world.driver.observe(world.scope)
    assert look() == before


def test_doing_every_step_again_restarts_nothing(world: World) -> None:
    world.stand_up()
    before = {one.address: one.handle for one in world.driver.observe(world.scope).resources}
    world.stand_up()
    assert {one.address: one.handle for one in world.driver.observe(world.scope).resources} == before


def test_a_changed_configuration_restarts_its_service_and_no_other(world: World) -> None:
    world.stand_up()
    before = {name: world.pid(name) for name in ("door", "inner", "room")}
    world.config("inner", say="something else")
    assert world.differences() == ["file/config/inner/inner.json", "service/inner"]
    world.stand_up()
    after = {name: world.pid(name) for name in ("door", "inner", "room")}
    assert (after["door"], after["room"]) == (before["door"], before["room"])
    assert after["inner"] != before["inner"]


@pytest.mark.parametrize("service", ["door", "inner"])
def test_a_killed_service_comes_back_however_often(world: World, service: str) -> None:
    world.stand_up()
    for _ in range(3):
        killed = world.kill(f"service/{service}")
        until(lambda: world.pid(service) not in {0, killed}, f"{service} runs again")  # noqa: B023 - called at once
        until(healthy(world, service), f"{service} is healthy again")


@pytest.mark.real
def test_a_killed_service_comes_back_in_its_room_with_nothing_left_of_the_old_one(confined: World) -> None:
    confined.stand_up()
    killed = confined.kill("service/inner")
    until(lambda: confined.pid("inner") not in {0, killed}, "inner runs again")
    until(healthy(confined, "inner"), "inner is healthy again")
    assert _starts(confined) == 2


@pytest.mark.promise(14)
def test_a_killed_supervisor_takes_its_services_along_and_the_next_apply_brings_all_back(world: World) -> None:
    world.stand_up()
    world.kill("supervisor/main")
    until(lambda: not marked(world.layout), "nothing of the agent runs on unwatched")
    assert world.observed("supervisor/main").health.state == "unhealthy"
    assert "service/inner" in world.differences()
    world.stand_up()
    assert world.differences() == []
    assert _starts(world) == 2


def test_what_outlived_a_killed_supervisor_is_ended_before_a_new_one_starts(world: World) -> None:
    world.stand_up()
    stray = subprocess.Popen(["sleep", "600"], env={"PAICTL_MARK": world.layout.mark}, start_new_session=True)
    stranger = subprocess.Popen(["sleep", "600"], env={"PAICTL_MARK": "0" * 16}, start_new_session=True)
    try:
        world.kill("supervisor/main")
        until(lambda: len(marked(world.layout)) == 1, "only the stray is left")
        world.make(world.resource("supervisor/main"))
        assert stray.poll() is not None
        assert stranger.poll() is None
    finally:
        for one in (stray, stranger):
            one.kill()
            one.wait()


@pytest.mark.promise(13)
def test_a_pid_that_now_belongs_to_somebody_else_is_never_signalled() -> None:
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        now = identify(stranger.pid)
        assert now is not None
        end([Process(now.pid, now.start - 1, now.boot), Process(now.pid, now.start, "another boot")])
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_supervisor_whose_socket_was_deleted_is_replaced_and_not_joined_by_a_second(world: World) -> None:
    world.stand_up()
    world.layout.socket.unlink()
    world.stand_up()
    assert world.differences() == []
    until(lambda: len(world.supervisors()) == 1, "there is one supervisor")


@pytest.mark.promise(4)
def test_a_supervisor_that_does_not_answer_is_unreachable_and_never_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paictl.errors import Unreachable

    world.stand_up()
    monkeypatch.setattr(supervision, "_CALL_SECONDS", 0.3)
    supervisor = int(world.observed("supervisor/main").handle.partition(":")[0])
    os.kill(supervisor, signal.SIGSTOP)
    try:
        with pytest.raises(Unreachable, match="does not answer") as raised:
            world.driver.observe(world.scope)
        assert str(supervisor) in raised.value.help
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_the_agent_outlives_the_terminal_it_was_applied_from(world: World, tmp_path: Path) -> None:
    world.stand_up()
    world.tear_down()
    script = tmp_path / "apply.py"
    script.write_text(
        "from pathlib import Path\n"
        "from tests.drivers.native.conftest import World, small_blueprint\n"
        "from paictl.drivers.native import NativeDriver\n"
        f"world = World(NativeDriver(), small_blueprint(unconfined=True, port={world.blueprint.public[1].port}))\n"
        "world.secrets['declared'] = b'a-canary-of-the-test'\n"
        "world.stand_up()\n"
        "print('stands', flush=True)\n"
        "input()\n"
    )
    terminal, inner = pty.openpty()
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        # The terminal is the session's own, so that closing it hangs up on everybody who still belongs to it.
        preexec_fn=lambda: _own_terminal(inner),  # noqa: PLW1509 - nothing else runs in the child
    ) as shell:
        os.close(inner)
        said = b""
        while b"stands" not in said:
            said += os.read(terminal, 1024)
        os.close(terminal)
        shell.wait(timeout=10)
    assert world.differences() == []
    for process in marked(world.layout):
        with contextlib.suppress(psutil.NoSuchProcess):
            assert not [one for one in psutil.Process(process.pid).open_files() if one.path.startswith("/dev/pts")]


def _own_terminal(terminal: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


@pytest.mark.promise(8)
@pytest.mark.parametrize("retries", [1, 500])
def test_a_service_that_can_t_start_is_given_up_with_its_last_lines(
    world: World, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    monkeypatch.setattr("paictl.render.native._START_RETRIES", retries)
    world.config("door", exit=3, say="I need a file that is not there")
    with pytest.raises(PartlyApplied, match="service/door"):
        world.stand_up()
    gate = next(one for one in world.events if one.type == "health" and one.data["state"] == "unhealthy")
    assert "begins I need a file that is not there" in str(gate.data["detail"])
    assert "became healthy" not in str(world.events)


def test_a_service_that_answers_with_an_error_is_not_healthy(world: World) -> None:
    world.stand_up()
    world.config("inner", status=503)
    for address in ("file/config/inner/inner.json", "service/inner"):
        world.make(world.resource(address))
    inner = world.resource("service/inner")
    until(lambda: "503" in world.driver.probe(inner).detail, "it answers 503")
    assert world.observed("service/inner").health.state == "starting"


@pytest.mark.parametrize("answer", [200, 404, 401, 503])
def test_whom_another_knows_is_as_well_as_that_one_says_and_alive_is_enough_where_it_was_never_taught_to_say(
    world: World, answer: int
) -> None:
    door, inner, room = world.blueprint.services
    room = replace(room, health=replace(room.health, path="/healthz/room", witness="inner/http"))
    world.blueprint = replace(world.blueprint, services=(door, inner, room))
    world.config("inner", answers={"/healthz/room": answer})
    for address in [str(one.address) for one in world.resources() if str(one.address) != "service/room"]:
        world.make(world.resource(address))
    world.wait(world.resource("service/inner"))
    world.make(world.resource("service/room"))
    asked = world.resource("service/room")
    if answer == 503:
        until(lambda: "/healthz/room answers 503" in world.driver.probe(asked).detail, "the witness says no")
    else:
        world.wait(asked)


@pytest.mark.promise(12)
def test_destroy_leaves_no_process_no_secret_and_no_unit_and_keeps_the_data(world: World) -> None:
    world.blueprint = replace(world.blueprint, start_on_boot=True)
    world.stand_up()
    keys = (world.layout.keys / "token").read_bytes()
    (world.layout.root / "data" / "door" / "memory").write_text("what the agent knows")
    volatile, socket = world.layout.volatile, world.layout.socket
    world.tear_down()
    assert marked(world.layout) == []
    assert not volatile.exists()
    assert not socket.exists()
    assert not unit_path("trial").exists()
    assert world.addresses() == ["directory/keys", "volume/door", "volume/inner", "volume/room"]
    assert sorted(one.name for one in world.layout.root.iterdir()) == [
        "data",
        "inventory.json",
        "keys",
        "paictl.json",
        "records",
    ]
    world.stand_up()
    assert (world.layout.keys / "token").read_bytes() == keys
    assert (world.layout.root / "data" / "door" / "memory").read_text() == "what the agent knows"
    world.tear_down(data=True)
    assert not world.layout.root.exists()


def test_after_a_reboot_like_stop_everything_comes_back_with_the_same_keys(world: World) -> None:
    world.stand_up()
    token = (world.layout.secrets / "token").read_bytes()
    end(marked(world.layout))
    shutil.rmtree(world.layout.volatile)
    assert {"secret/token", "secret/declared", "supervisor/main"} <= set(world.differences())
    world.stand_up()
    assert world.differences() == []
    assert (world.layout.secrets / "token").read_bytes() == token


def _starts(world: World) -> int:
    return len((world.layout.root / "data" / "inner" / "db.starts").read_text().splitlines())
