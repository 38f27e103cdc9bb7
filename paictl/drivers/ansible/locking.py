"""The lock on the hosts: an flock on each, held there by a process that hears our heart beat. Taken by ``hold_lock``.

The kernel of the host decides who has it. It is free as soon as that process ends: when we let go, when we are killed (the line
to it ends), when nothing was heard for three beats (the cable was cut), and after a boot. No record of it can be stale.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from paictl.drivers.ansible.hosts import Hosts
from paictl.drivers.ansible.onhost import holding
from paictl.drivers.ansible.shell import Shell, on_each
from paictl.engine.driver import Holder, Scope
from paictl.engine.heartbeat import Heart
from paictl.engine.lock import describe
from paictl.errors import LockHeld, PaictlError, Unreachable

__all__ = ["BEAT_SECONDS", "Guards", "hold", "path_of"]

BEAT_SECONDS = 5.0
_MISSED = 3
_TAKE_SECONDS = 30.0
_END_SECONDS = 5.0
_CHUNK = 4096


class Guards:
    """Asked before each change whether the lock of that host is still ours. One a driver; without a lock it lets everything pass."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._away: dict[str, PaictlError] = {}

    def check(self, host: str) -> None:
        """Raise ``PaictlError`` when the lock of this host was lost, ``Unreachable`` when nobody knows or it was never taken."""
        held = self._held.get(host)
        if held is not None and held.guard is not None:
            held.guard()
        elif host in self._away:
            raise Unreachable(
                f"{host} was away when this run began: {self._away[host].summary}",
                help="Apply again: it may be back.",
            )

    @contextmanager
    def standing(self, held: dict[str, _Held], away: dict[str, PaictlError]) -> Iterator[None]:
        """While the block runs, these are the locks."""
        self._held, self._away = held, away
        try:
            yield
        finally:
            self._held, self._away = {}, {}


def path_of(scope: Scope) -> str:
    """The file on each host; in memory there."""
    return f"/run/paictl-{scope.agent}.{scope.target}.lock"


@contextmanager
def hold(hosts: Hosts, guards: Guards, scope: Scope, holder: Holder, beat: float = BEAT_SECONDS) -> Iterator[str]:
    """The lock of every host that is reached, in the order of their names; ``LockHeld`` when another has one of them.

    Yields the holder who died with it and from whom it was taken over, described; empty when it was free. Raises ``Unreachable``
    when no host is reached. Whoever lost a host's lock (a laptop that was closed, a cable that was cut) changes it no more.
    """
    held: dict[str, _Held] = {}
    # What is slow is the connecting, not the locking.
    there, away = on_each(hosts, Shell.open)
    with ExitStack() as stack:
        for name in there:
            try:
                held[name] = stack.enter_context(_taken(Shell(hosts, name), scope, holder, beat))
            except LockHeld:
                raise
            except PaictlError as error:
                away[name] = error
        if not held:
            raise next(iter(away.values()))
        for one in held.values():
            stack.enter_context(Heart(one, one.beat, beat).beating())
        stack.enter_context(guards.standing(held, away))
        yield next((one.dead for one in held.values() if one.dead), "")


@contextmanager
def _taken(shell: Shell, scope: Scope, holder: Holder, beat: float) -> Iterator[_Held]:
    told = json.dumps(asdict(holder))
    argv = ["python3", "-I", "-c", _script(), path_of(scope), told, str(_MISSED * beat)]
    process = shell.start(argv)
    held = _Held(shell.name, process, beat)
    try:
        held.take()
        yield held
    finally:
        held.release()


class _Held:
    """One host's lock, and the process there that holds it. ``guard`` is the heart's."""

    guard: Callable[[], None] | None = None

    def __init__(self, host: str, process: subprocess.Popen[bytes], beat: float) -> None:
        self.dead = ""
        self._host, self._process, self._seconds = host, process, beat
        self._unread, self._number, self._one = b"", 0, threading.Lock()

    def take(self) -> None:
        """Hear whether it is ours."""
        try:
            told: dict[str, Any] = json.loads(self._line(_TAKE_SECONDS) or b"")
        except ValueError as error:
            said = self._process.stderr.read(_CHUNK).decode("utf-8", "replace") if self._process.stderr else ""
            raise PaictlError(
                f"the lock of {self._host} can't be taken: {said.strip()[-400:] or 'its holder ended without a word'}",
                help="paictl needs Python 3.9 or newer on the host, and room in /run.",
            ) from error
        if "held" in told:
            raise LockHeld(
                f"the lock of {self._host} is held by {_whom(told['held'])}",
                help="Wait for it to end, or pass --lock-timeout to wait for the lock.",
            )
        self.dead = _whom(told["dead"]) if told["dead"] else ""

    def beat(self) -> bool:
        """Whether the host still holds it for us; raises ``Unreachable`` when it does not answer."""
        with self._one:
            self._number += 1
            told = b"%d" % self._number
            if not self._tell(told):
                return False
            deadline = time.monotonic() + self._seconds
            while (line := self._line(deadline - time.monotonic())) is not None:
                if line == told:
                    return True
            return False

    def release(self) -> None:
        """Let go of it; a host that is away does so by itself when it hears nothing more."""
        with self._one:
            if self._tell(b"done"):
                with suppress(Unreachable):
                    while self._line(_END_SECONDS) not in {b"done", None}:
                        pass
            self._process.kill()
            self._process.communicate()

    def _tell(self, line: bytes) -> bool:
        try:
            return self._process.stdin is not None and bool(self._process.stdin.write(line + b"\n"))
        except OSError:
            return False

    def _line(self, seconds: float) -> bytes | None:
        """The next line; None when there will be none; raises ``Unreachable`` when there is none for so long."""
        output, deadline = self._process.stdout, time.monotonic() + seconds
        while output is not None and b"\n" not in self._unread:
            if not select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise Unreachable(
                    f"{self._host} does not answer any more",
                    help="Nothing more is changed there. Apply again when it is back.",
                )
            heard = os.read(output.fileno(), _CHUNK)
            if not heard:
                return None
            self._unread += heard
        line, _, self._unread = self._unread.partition(b"\n")
        return line


def _whom(found: str) -> str:
    try:
        return describe(Holder(**json.loads(found)))
    except (ValueError, TypeError):
        return "another paictl"


@cache
def _script() -> str:
    return Path(str(holding.__file__)).read_text(encoding="utf-8")
