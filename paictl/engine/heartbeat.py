"""How a lock that is kept elsewhere shows that its holder lives: a beat in a thread of its own, and a process's name for good.

Used by drivers whose lock is on the target. Knows nothing of where the lock is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from paictl.errors import PaictlError

__all__ = ["Guarded", "Heart", "process"]


class Guarded(Protocol):
    """A connection that asks its ``guard`` before each call; the guard may raise."""

    guard: Callable[[], None] | None


class Heart:
    """Beats every ``distance`` seconds, and looks after itself before each call of the connection when it overslept.

    ``beat`` says whether the lock is still held, None when that could not be told; what it raises counts for as much.
    """

    def __init__(self, connection: Guarded, beat: Callable[[], bool | None], distance: float) -> None:
        self._connection, self._beats, self._distance = connection, beat, distance
        self._last, self._lost = _since_boot(), False
        self._own, self._end = threading.local(), threading.Event()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """For as long as the block runs; whoever lost the lock makes no call any more."""
        thread = threading.Thread(target=self._run, name="lock-heartbeat", daemon=True)
        self._connection.guard = self._guard
        thread.start()
        try:
            yield
        finally:
            self._connection.guard = None
            self._end.set()
            thread.join(self._distance)

    def _run(self) -> None:
        while not self._end.wait(self._distance) and not self._lost:
            with suppress(PaictlError):  # a target that is away for a moment; the guard knows when it was too long
                self._beat()

    def _guard(self) -> None:
        if getattr(self._own, "beats", False):
            return
        if not self._lost and _since_boot() - self._last > 2 * self._distance:
            self._beat()
        if self._lost:
            raise PaictlError(
                "the lock was lost: this paictl did not answer for so long that another one took over",
                help="Nothing more was changed. `paictl status` tells what stands; apply again when the other one has ended.",
            )

    def _beat(self) -> None:
        self._own.beats = True
        try:
            held = self._beats()
        finally:
            self._own.beats = False
        if held:
            self._last = _since_boot()
        elif held is not None:
            self._lost = True


def process(pid: int) -> str | None:
    """A process for good: ``pid@boot id/pid namespace#start time``; None when there is none, or only its remains."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = Path("/proc/self/ns/pid").readlink()
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command's name may hold spaces and parentheses: the fields begin after the last one (proc(5)).
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else f"{pid}@{boot}/{space}#{fields[19]}"


def _since_boot() -> float:
    """Seconds that go on while the machine sleeps, unlike ``time.monotonic``."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
