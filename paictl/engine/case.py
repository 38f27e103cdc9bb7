"""One desired resource before it is planned for: what of ours stands at its address, what is remembered, what steps are called.

Used by the planner and by ``removal``; pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from paictl.engine.fingerprint import matches
from paictl.engine.inventory import Record
from paictl.engine.model import Address, Observed, Resource

__all__ = ["Case", "holds_data", "instance_name", "step_id"]


@dataclass(frozen=True, slots=True)
class Case:
    """One desired resource, the label of its spec, what of ours stands at its address, and what is remembered of it."""

    resource: Resource
    label: str
    mine: tuple[Observed, ...]
    record: Record | None

    @property
    def beside(self) -> bool:
        """Whether a successor can stand beside it; never so where both would write the same data."""
        return self.resource.create_first and not self.resource.holds_data

    def fits(self, label: str) -> bool:
        """Whether a label was written for this spec."""
        return matches(self.resource.spec, label, self.label)

    def current(self) -> Observed:
        """Of several that stand, the one to keep: one with data, else the one that fits, else the one remembered."""
        remembered = self.record.instance if self.record is not None else ""
        return min(
            self.mine,
            key=lambda one: (
                not one.holds_data,
                not self.fits(one.fingerprint),
                one.instance != remembered,
                one.instance,
                one.handle,
            ),
        )


def step_id(action: str, address: Address, instance: str) -> str:
    """``create:service/agent``, with the instance where two stand side by side."""
    return f"{action}:{address}@{instance}" if instance else f"{action}:{address}"


def instance_name(label: str, replaces: Observed | None) -> str:
    """The name of one that will stand beside another: the same after a crash, and never the other's own."""
    text = label if replaces is None else f"{label} after {replaces.instance}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def holds_data(observed: Observed, record: Record | None) -> bool:
    """Whether there is data in it by its label or by what is remembered: either alone protects it."""
    return observed.holds_data or (record is not None and record.holds_data)
