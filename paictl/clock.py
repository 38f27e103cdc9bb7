"""Time as a parameter, so that waiting code is tested without waiting. Used by whatever polls, stamps or times out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """What waiting code needs of time."""

    def now(self) -> datetime:
        """The wall clock, in UTC: for stamps that people read."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment: for durations and deadlines."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait that long."""
        ...


class SystemClock:
    """The real one."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class ManualClock:
    """A clock that only ``sleep`` moves; the fake driver and the tests wait on it without waiting."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
