"""What the driver asks of each kind of resource: make one, remove one; and what both stand on. One module a kind implements it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.naming import (
    FINGERPRINT,
    HOLDS_DATA,
    INSTANCE,
    NEEDS,
    compose_labels,
    engine_name,
    labels,
)
from paictl.engine.driver import Scope, SecretReader
from paictl.engine.model import Health, Step
from paictl.events import Emit, Event

__all__ = ["HEALTHY", "Act", "Kind"]

HEALTHY = Health("healthy")


@dataclass(frozen=True, slots=True)
class Act:
    """One step on its way, with all it may use."""

    step: Step
    connection: Connection
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

    @property
    def scope(self) -> Scope:
        """Whose it is."""
        return Scope(self.text("agent"), self.step.address.target)

    @property
    def name(self) -> str:
        """The resource's name."""
        return self.step.address.name

    @property
    def engine_name(self) -> str:
        """A network's or volume's name on the engine."""
        return engine_name(self.scope.agent, self.name)

    def labels(self, number: int = 1) -> dict[str, str]:
        """Everything by which it is known again: ours, with the fingerprint, and Compose's."""
        resource, address = self.step.resource, self.step.address
        made = {
            **compose_labels(self.scope, address.kind, address.name, self.step.fingerprint, number),
            **labels(self.scope, address.kind, address.name),
            FINGERPRINT: self.step.fingerprint,
            INSTANCE: self.step.instance,
        }
        if resource is not None:
            made[NEEDS] = " ".join(str(one) for one in resource.depends_on)
            made[HOLDS_DATA] = str(resource.holds_data).lower()
        return made

    def say(self, type_: str, **data: object) -> None:
        """Tell whoever listens."""
        self.emit(Event(type_, str(self.step.address), data))


class Kind(Protocol):
    """One kind of resource. ``make`` and ``remove`` may be repeated after a crash at any point of them."""

    def make(self, act: Act) -> None:
        """Make the step's resource true."""
        ...

    def remove(self, act: Act) -> None:
        """Remove exactly what ``make`` made; nothing there is fine."""
        ...
