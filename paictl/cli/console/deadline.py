"""``--timeout``: ends a run that takes too long, on the same way out as a signal, so that running steps end first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from paictl.cli.console.failure import Terminated
from paictl.errors import Interrupted, PaictlError, PartlyApplied

__all__ = ["deadline"]

_GRACE_SECONDS = 5.0


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Give the block that long; raise ``PartlyApplied`` when steps had begun, ``PaictlError`` when nothing was changed."""
    if seconds is None:
        yield
        return
    passed = False

    def ring(_number: int, _frame: FrameType | None) -> None:
        nonlocal passed
        passed = True
        signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGALRM, ring)
    # The first ring lets running steps end; the second, like a second Ctrl-C, does not wait for them.
    signal.setitimer(signal.ITIMER_REAL, seconds, _GRACE_SECONDS)
    try:
        yield
    except Interrupted as interrupted:
        if not passed:
            raise
        raise PartlyApplied(f"gave up after {seconds:g} s: {interrupted.summary}", help=interrupted.help) from None
    except Terminated:
        if not passed:
            raise
        raise PaictlError(f"gave up after {seconds:g} s", help="Nothing was changed; --timeout allows more.") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
