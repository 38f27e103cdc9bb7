"""What the driver asks of each kind of resource: look at one, make one, remove one. One module a kind implements it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from paictl.clock import Clock
from paictl.drivers.native.layout import Layout
from paictl.drivers.native.records import Record
from paictl.drivers.native.supervision import Live
from paictl.engine.driver import SecretReader
from paictl.engine.model import Health, Step
from paictl.events import Emit, Event

__all__ = ["HEALTHY", "Act", "Here", "Kind", "Seen"]

HEALTHY = Health("healthy")


@dataclass(frozen=True, slots=True)
class Here:
    """What an observation stands on: the agent's places, and its supervisor as it was found at the beginning."""

    layout: Layout
    live: Live | None
    clock: Clock


@dataclass(frozen=True, slots=True)
class Seen:
    """What really stands where a record says that something was made."""

    spec: Mapping[str, object]
    health: Health = HEALTHY
    handle: str = ""
    since: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Act:
    """One step on its way, with all it may use."""

    step: Step
    layout: Layout
    clock: Clock
    secrets: SecretReader
    emit: Emit
    offline: bool

    @property
    def spec(self) -> Mapping[str, object]:
        """What to make, or what stood when it is to be removed."""
        return self.step.spec

    def text(self, key: str) -> str:
        """One string of the spec."""
        return str(self.spec[key])

    def say(self, type_: str, **data: object) -> None:
        """Tell whoever listens."""
        self.emit(Event(type_, str(self.step.address), data))


class Kind(Protocol):
    """One kind of resource. ``make`` and ``remove`` may be repeated after a crash at any point of them."""

    def observe(self, here: Here, record: Record) -> Seen | None:
        """What stands there now; None when nothing does. Writes nothing."""
        ...

    def make(self, act: Act) -> Mapping[str, object] | None:
        """Make the step's resource true; what it returns is kept as the record's note."""
        ...

    def remove(self, act: Act) -> None:
        """Remove exactly what ``make`` made; nothing there is fine."""
        ...
