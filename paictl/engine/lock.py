"""One writer per agent and target: flock here, the driver's own lock there. Held by ``reconcile`` around everything that writes.

The kernel lets go of an flock when its process dies, by kill -9 too; the descriptor is close-on-exec, so that no service
inherits it. The holder's name in the file is only for messages: it is never what decides.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from paictl.clock import Clock
from paictl.engine.driver import Driver, Holder, Scope
from paictl.errors import LockHeld
from paictl.events import Emit, Event

__all__ = ["Patience", "describe", "flocked", "hold", "myself", "working"]

_POLL_SECONDS = 0.2


def myself(who: str, verb: str, clock: Clock) -> Holder:
    """The holder that the calling process would be."""
    return Holder(who, socket.gethostname(), os.getpid(), clock.now().isoformat(timespec="seconds"), verb)


def describe(holder: Holder) -> str:
    """``alice on desk, process 4711, since 2026-01-02T03:04:05+00:00 (apply)``."""
    return f"{holder.who} on {holder.host}, process {holder.pid}, since {holder.since} ({holder.verb})"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a lock that somebody holds, by which clock."""

    clock: Clock
    seconds: float


@contextmanager
def hold(
    directory: Path, driver: Driver, scope: Scope, holder: Holder, patience: Patience, emit: Emit
) -> Iterator[None]:
    """Both locks, or ``LockHeld`` naming who has one once the patience is at its end."""
    clock = patience.clock
    deadline = clock.monotonic() + patience.seconds
    while True:
        with ExitStack() as stack:
            try:
                here = stack.enter_context(flocked(directory / "lock", holder))
                there = stack.enter_context(driver.hold_lock(scope, holder))
            except LockHeld:
                if clock.monotonic() >= deadline:
                    raise
            else:
                # The same one, as a rule; on the target it may have been somebody from another machine.
                for dead in dict.fromkeys(one for one in (here, there) if one):
                    text = f"taking over from {dead}, which ended without letting go"
                    emit(Event("warning", data={"code": "dead-holder", "text": text}))
                yield
                return
        clock.sleep(min(_POLL_SECONDS, max(0.0, deadline - clock.monotonic())))


@contextmanager
def flocked(path: Path, holder: Holder) -> Iterator[str]:
    """An flock on one file, with the holder's name in it; raises ``LockHeld`` at once when somebody has it.

    Yields who had it before and died with it, described; empty when it was free.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(_read(descriptor)) from None
        dead = _read(descriptor)
        _write(descriptor, json.dumps(asdict(holder)).encode())
        try:
            yield "" if dead is None else describe(dead)
        finally:
            _write(descriptor, b"")
    finally:
        os.close(descriptor)


def working(directory: Path) -> str:
    """Who holds the lock of this directory, for people; empty when nobody does. Takes no lock, so that it is in nobody's way."""
    try:
        holder = _parsed((directory / "lock").read_bytes())
    except OSError:
        return ""
    alive = holder is not None and (holder.host != socket.gethostname() or Path(f"/proc/{holder.pid}").exists())
    return describe(holder) if holder is not None and alive else ""


def _held(holder: Holder | None) -> LockHeld:
    whom = "another paictl" if holder is None else describe(holder)
    return LockHeld(
        f"the lock is held by {whom}", help="Wait for it to end, or pass --lock-timeout to wait for the lock."
    )


def _read(descriptor: int) -> Holder | None:
    return _parsed(os.pread(descriptor, 4096, 0))


def _parsed(text: bytes) -> Holder | None:
    try:
        content = json.loads(text)
        return Holder(content["who"], content["host"], content["pid"], content["since"], content["verb"])
    except (ValueError, KeyError, TypeError):
        return None  # empty after a clean end, or caught while being written


def _write(descriptor: int, content: bytes) -> None:
    with suppress(OSError):  # a full disk costs the name in a message, not the lock
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
