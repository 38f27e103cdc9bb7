"""Two at once, holders that died, cables that were cut: one writes at a time, the other is told who it is, and no lock stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from paictl.drivers.ansible import ledger, locking
from paictl.drivers.ansible.hosts import Hosts, Login
from paictl.drivers.ansible.locking import Guards
from paictl.engine.driver import Holder, Scope
from paictl.errors import LockHeld, PaictlError, Unreachable
from tests.drivers.ansible.stack import Shared, Stack
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.promise(16)]

_ME = Holder("alice", "desk", 1, "2026-01-02T03:04:05+00:00", "apply")
_HELD = "held by alice on desk, process 1, since 2026-01-02T03:04:05"
_BEAT = 0.4
# Another process: only its hosts are told, by key.
_HOLD = """
import os, sys
from pathlib import Path
from paictl.drivers.ansible.hosts import Hosts, Login
from paictl.drivers.ansible.locking import Guards, hold
from paictl.engine.driver import Holder, Scope
name, address, user, key, state, agent = sys.argv[1:]
password = sys.stdin.readline().strip()
hosts = Hosts({name: Login(name, address, user, 22, key)}, lambda _, use: password if use == "become" else None, Path(state))
with hold(hosts, Guards(), Scope(agent, "here"), Holder("bob", "attic", os.getpid(), "2026-01-02T03:04:05+00:00", "apply")):
    print("held", flush=True)
    sys.stdin.read()
"""


def _free(hosts: Hosts, scope: Scope) -> bool:
    try:
        with locking.hold(hosts, Guards(), scope, _ME):
            return True
    except LockHeld:
        return False


def _other(shared: Shared, scope: Scope) -> subprocess.Popen[str]:
    login = shared.reached.logins[shared.host.name]
    told = [login.name, login.address, login.user, login.host_key, str(shared.reached.state), scope.agent]
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, *told], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{shared.host.password}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "held\n"
    return process


def test_a_process_that_was_killed_holds_nothing_and_the_next_one_is_told_from_whom_it_took_over(
    shared: Shared, stack: Stack
) -> None:
    with _other(shared, stack.scope) as other:
        whom = f"bob on attic, process {other.pid}"
        with pytest.raises(LockHeld, match=whom), locking.hold(shared.reached, Guards(), stack.scope, _ME):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
        taken: list[str] = []

        def take() -> bool:
            with suppress(LockHeld), locking.hold(shared.reached, Guards(), stack.scope, _ME) as dead:
                taken.append(dead)
            return bool(taken)

        until(take, "the lock of the one that was killed", 3)
        assert taken[0].startswith(whom)
    assert stack.leftovers() == []


def test_of_many_at_once_one_has_it(shared: Shared, stack: Stack) -> None:
    many, refused, begin = 5, threading.Semaphore(0), threading.Barrier(5)

    def attempt(_number: int) -> bool:
        begin.wait(30)
        try:
            with locking.hold(shared.reached, Guards(), stack.scope, _ME):
                # Held until every other one was refused: a second holder would wait in vain.
                return all(refused.acquire(timeout=60) for _ in range(many - 1))
        except LockHeld:
            refused.release()
            return False

    with ThreadPoolExecutor(many) as pool:
        assert sum(pool.map(attempt, range(many))) == 1
    assert stack.leftovers() == []


def test_a_lock_that_its_host_lost_lets_nothing_more_be_changed(shared: Shared, stack: Stack) -> None:
    guards = Guards()
    with locking.hold(shared.reached, guards, stack.scope, _ME, beat=_BEAT):
        guards.check(shared.host.name)
        shared.host.exec(["pkill", "--full", locking.path_of(stack.scope)])
        _refused(lambda: guards.check(shared.host.name), "the lock was lost")
        with pytest.raises(PaictlError, match="the lock was lost"):
            ledger.save(shared.reached, stack.scope, {"resources": {"a": "b"}}, guards)
        assert ledger.load(shared.reached, stack.scope) is None
        assert _free(shared.reached, stack.scope)


def test_a_cable_that_was_cut_frees_the_lock_and_binds_the_hands_of_who_had_it(shared: Shared, stack: Stack) -> None:
    guards, name = Guards(), shared.host.name
    with locking.hold(shared.reached, guards, stack.scope, _ME, beat=_BEAT):
        shared.host.cut()
        try:
            _refused(lambda: guards.check(name), f"{name} does not answer any more")
            # The host lets go by itself: nobody can tell it to.
            until(lambda: not _holds(shared, stack.scope), "the host let go", 10)
        finally:
            shared.host.mend()
        _refused(lambda: guards.check(name), "the lock was lost")
        assert _free(shared.reached, stack.scope)


def _holds(shared: Shared, scope: Scope) -> bool:
    said = shared.host.exec(["sh", "-c", 'pgrep --full "[p]ython3.*$1" || true', "sh", locking.path_of(scope)])
    return bool(said.strip())


def _refused(call: Callable[[], None], words: str) -> None:
    said: list[str] = []

    def refused() -> bool:
        try:
            call()
        except PaictlError as no:
            said.append(no.summary)
        return any(words in one for one in said)

    until(refused, f"{words}: {said}", 10)


def test_a_host_that_is_away_is_not_waited_for_and_nothing_is_changed_there(shared: Shared, stack: Stack) -> None:
    real = shared.reached.logins[shared.host.name]
    away = Login("away", "127.0.0.1", "x", 9, real.host_key)
    both = replace(shared.reached, logins={"away": away, **shared.reached.logins})
    guards = Guards()
    with locking.hold(both, guards, stack.scope, _ME):
        guards.check(shared.host.name)
        with pytest.raises(Unreachable, match="away was away when this run began"):
            guards.check("away")
        with pytest.raises(LockHeld, match=_HELD), locking.hold(both, Guards(), stack.scope, _ME):
            pass
    guards.check("away")
    alone = replace(shared.reached, logins={"away": away})
    with pytest.raises(Unreachable, match="away takes no connections"), locking.hold(alone, Guards(), stack.scope, _ME):
        pass


def test_agents_and_targets_have_locks_of_their_own(shared: Shared, stack: Stack) -> None:
    with locking.hold(shared.reached, Guards(), stack.scope, _ME):
        assert _free(shared.reached, Scope(stack.agent, "there"))
        assert not _free(shared.reached, stack.scope)
    assert os.path.basename(locking.path_of(stack.scope)) == f"paictl-{stack.agent}.here.lock"  # noqa: PTH119 - a host's path
