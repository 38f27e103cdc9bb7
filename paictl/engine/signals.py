"""SIGINT and SIGTERM during an execution: told instead of obeyed, so that running steps end first. Used by the executor."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["told"]


@contextmanager
def told(tell: Callable[[int], None]) -> Iterator[None]:
    """Have ``tell`` called with each signal's number; only the main thread can, elsewhere nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        tell(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
