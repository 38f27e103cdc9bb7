from __future__ import annotations

import os
import shutil
import signal
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest

from paictl.drivers.docker import empty_image, locking
from paictl.drivers.docker.connection import Connection, connect
from paictl.drivers.docker.naming import labels
from paictl.engine.driver import Holder, Scope
from paictl.errors import LockHeld, PaictlError, Refused
from tests.docker.conftest import Reached
from tests.docker.trial import started
from tests.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.promise(16)]

_ME = Holder("alice", "desk", 1, "2026-01-02T03:04:05+00:00", "apply")
_BEAT = 0.4

# Takes the lock, says so, and does as it is told: "call" the engine, or "end".
_HOLD = """
import sys
from paictl.drivers.docker import locking
from paictl.drivers.docker.connection import connect
from paictl.engine.driver import Holder, Scope
from paictl.errors import PaictlError
connection = connect()
with locking.hold(connection, Scope(sys.argv[1], "home"), Holder("bob", "attic", 7, "then", "apply"), float(sys.argv[2])):
    print("held", flush=True)
    for line in sys.stdin:
        if line == "end\\n":
            break
        try:
            connection.api.ping()
            print("called", flush=True)
        except PaictlError as error:
            print(error, flush=True)
connection.close()
print("ended", flush=True)
"""

# One of several who want the lock again and again. Who holds it makes a file that must not be there, and now and then dies so.
_CONTEND = """
import os, signal, sys, time
from pathlib import Path
from paictl.drivers.docker import locking
from paictl.drivers.docker.connection import connect
from paictl.engine.driver import Holder, Scope
from paictl.errors import LockHeld
def alive(pid):
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
agent, folder, times, dies = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "dies"
connection, inside = connect(), folder / "inside"
while times:
    try:
        with locking.hold(connection, Scope(agent, "home"), Holder("x", "y", os.getpid(), "z", "apply")):
            if inside.exists() and alive(inside.read_text()):
                (folder / f"double-{os.getpid()}").touch()
            inside.write_text(str(os.getpid()))
            with (folder / "taken").open("a") as taken:
                taken.write("x")
            time.sleep(0.02)
            if dies and times == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            inside.unlink()
        times -= 1
    except LockHeld:
        time.sleep(0.02)
connection.close()
"""


@dataclass
class World:
    connection: Connection
    scope: Scope

    def standing(self) -> list[str]:
        mine = {"label": f"paictl.agent={self.scope.agent}"}
        return [one["Id"] for one in self.connection.api.containers(all=True, filters=mine)]

    def place(self, process: str, holder: str = "") -> str:
        """A lock as another machine would have left it."""
        marks = {**labels(self.scope, "lock", "lock"), "paictl.process": process, "paictl.holder": holder}
        return empty_image.create(self.connection, locking.container_name(self.scope), marks)


@pytest.fixture
def world(engine: Reached, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    made = World(connect(), Scope(f"ptest-{uuid.uuid4().hex[:10]}", "home"))
    yield made
    left = made.standing()
    for one in left:
        made.connection.api.remove_container(one, force=True)
    made.connection.close()
    assert not left


def _held(process: Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"


def _told(process: Popen[str], word: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    return process.stdout.readline()


def test_the_holder_is_named_and_the_lock_is_free_after_success_failure_and_ctrl_c(world: World) -> None:
    for error in (None, ZeroDivisionError, KeyboardInterrupt, SystemExit):
        try:
            with locking.hold(world.connection, world.scope, _ME):
                other = connect()
                with (
                    pytest.raises(LockHeld, match="held by alice on desk, process 1, since 2026-01-02T03:04:05"),
                    locking.hold(other, world.scope, _ME),
                ):
                    pass
                other.close()
                if error:
                    raise error
        except (ZeroDivisionError, KeyboardInterrupt, SystemExit):
            pass
        assert world.standing() == []


def test_two_agents_of_one_engine_dont_wait_for_each_other(world: World) -> None:
    other = Scope(f"{world.scope.agent}-b", "home")
    another = connect()
    with locking.hold(world.connection, world.scope, _ME), locking.hold(another, other, _ME):
        pass
    another.close()


def test_after_kill_9_the_next_one_has_it_at_once(world: World) -> None:
    with started(_HOLD, world.scope.agent, "5") as process:
        _held(process)
        with pytest.raises(LockHeld, match="bob on attic, process 7"), locking.hold(world.connection, world.scope, _ME):
            pass
        process.kill()
        # Not waited for: its remains in the table of processes are no holder either.
        until(lambda: " Z " in Path(f"/proc/{process.pid}/stat").read_text(), "its end")
        begun = time.monotonic()
        with locking.hold(world.connection, world.scope, _ME) as dead:
            assert time.monotonic() - begun < 2
        assert dead == "bob on attic, process 7, since then (apply)"
    with locking.hold(world.connection, world.scope, _ME) as dead:
        assert dead == ""


def test_a_stopped_holder_of_this_machine_keeps_it(world: World) -> None:
    with started(_HOLD, world.scope.agent, str(_BEAT)) as process:
        _held(process)
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(LockHeld), locking.hold(world.connection, world.scope, _ME, _BEAT):
            pass
        os.kill(process.pid, signal.SIGCONT)
        assert _told(process, "call") == "called\n"
        assert _told(process, "end") == "ended\n"


def test_a_process_that_was_given_the_pid_of_a_dead_holder_is_not_taken_for_it(world: World) -> None:
    with started(_HOLD, world.scope.agent, "5") as process:
        _held(process)
        told = world.connection.api.inspect_container(locking.container_name(world.scope))["Config"]["Labels"]
        assert _told(process, "end") == "ended\n"
    pid, _, rest = told["paictl.process"].partition("@")
    where, _, start = rest.partition("#")
    world.place(f"{os.getpid()}@{where}#{start}")
    assert (int(pid), start) != (os.getpid(), "")
    with locking.hold(world.connection, world.scope, _ME):
        pass


def test_a_lock_that_an_error_left_in_this_very_process_is_its_to_break(world: World) -> None:
    with locking.hold(world.connection, world.scope, _ME):
        told = world.connection.api.inspect_container(locking.container_name(world.scope))["Config"]["Labels"]
    world.place(told["paictl.process"])
    with locking.hold(world.connection, world.scope, _ME):
        pass


def test_another_machines_lock_falls_when_its_heart_stands_still_and_not_before(world: World) -> None:
    world.place("1@another-boot/pid:[1]#1")
    begun = time.monotonic()
    with locking.hold(world.connection, world.scope, _ME, _BEAT):
        assert time.monotonic() - begun >= 3 * _BEAT


def test_of_two_who_break_the_same_lock_the_slower_takes_nothing_from_the_faster(world: World) -> None:
    world.place("1@another-boot/pid:[1]#1")
    slower = connect()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_try, slower, world.scope, 4 * _BEAT)
        until(lambda: slower.calls > 4, "the slower one's looks at the heart")
        with locking.hold(world.connection, world.scope, _ME, _BEAT):
            mine = world.standing()
            assert waiting.result() == "held by alice"
            assert world.standing() == mine
    slower.close()


def _try(connection: Connection, scope: Scope, beat: float) -> str:
    try:
        with locking.hold(connection, scope, _ME, beat):
            return "taken"
    except LockHeld as held:
        return "held by alice" if "held by alice" in held.summary else held.summary


_OTHER = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
_needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="another machine's process is played by root's unshare"
)


@_needs_root
@pytest.mark.slow
def test_another_machines_holder_keeps_it_while_its_heart_beats_and_loses_it_by_kill_9(world: World) -> None:
    with started(_HOLD, world.scope.agent, str(_BEAT), before=_OTHER) as process:
        _held(process)
        for _ in range(2):
            with pytest.raises(LockHeld, match="bob on attic"), locking.hold(world.connection, world.scope, _ME, _BEAT):
                pass
        process.kill()
        with locking.hold(world.connection, world.scope, _ME, _BEAT):
            pass


@_needs_root
@pytest.mark.slow
def test_whoever_slept_through_its_lock_makes_no_call_any_more(world: World) -> None:
    with started(_HOLD, world.scope.agent, str(_BEAT), before=_OTHER) as process:
        _held(process)
        assert _told(process, "call") == "called\n"
        holder = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        os.kill(holder, signal.SIGSTOP)
        with locking.hold(world.connection, world.scope, _ME, _BEAT):
            os.kill(holder, signal.SIGCONT)
            assert _told(process, "call").startswith("the lock was lost: ")
            assert _told(process, "call").startswith("the lock was lost: ")
            assert _told(process, "end") == "ended\n"
            assert len(world.standing()) == 1  # it let go of nothing that was not its own


def test_a_lock_that_is_taken_away_stops_its_holder(world: World) -> None:
    with locking.hold(world.connection, world.scope, _ME, 0.1):
        other = connect()
        other.api.remove_container(locking.container_name(world.scope))
        other.close()

        def refused() -> bool:
            try:
                world.connection.api.ping()
            except PaictlError as error:
                return "the lock was lost" in error.summary
            return False

        until(refused, "a refusal")
    assert world.connection.api.ping()


@pytest.mark.promise(13)
def test_a_container_of_that_name_that_is_not_ours_is_left_alone(world: World) -> None:
    name = locking.container_name(world.scope)
    theirs = empty_image.create(world.connection, name, {"whose": "theirs"})
    try:
        with pytest.raises(Refused, match="is not paictl's lock"), locking.hold(world.connection, world.scope, _ME):
            pass
        assert world.connection.api.inspect_container(name)["Id"] == theirs
    finally:
        world.connection.api.remove_container(theirs)


@pytest.mark.slow
def test_of_eight_who_want_it_at_once_and_some_of_whom_are_killed_never_two_have_it(
    world: World, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                started(_CONTEND, world.scope.agent, str(tmp_path), "4", "dies" if number % 2 else "lives")
            )
            for number in range(8)
        ]
        codes = [process.wait(120) for process in processes]
    assert codes == [0, -signal.SIGKILL] * 4
    assert (tmp_path / "taken").read_text() == "x" * 32
    assert list(tmp_path.glob("double-*")) == []
    with locking.hold(world.connection, world.scope, _ME):  # the last of the killed left it
        pass
