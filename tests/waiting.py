"""Waiting for what must become true, by looking again and again until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["until"]

_POLL_SECONDS = 0.05


def until(true: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Return once ``true()`` is; fail with ``what`` when it does not become so within that time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(_POLL_SECONDS)
