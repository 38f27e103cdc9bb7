"""What the engine remembers of the resources it made, as values and as JSON. Kept by the ledger, read by the planner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paictl.engine.model import Address, Resource
from paictl.engine.ownership import Source

__all__ = ["Inventory", "Record", "address_from_text", "record_from_json", "record_to_json"]


@dataclass(frozen=True, slots=True)
class Record:
    """One resource as it was made. ``one_shot`` ones are remembered by their fingerprint: they succeeded for it.

    ``holds_data`` protects the data even when the label on the target is lost and the manifest's block is gone.
    """

    fingerprint: str
    instance: str = ""
    holds_data: bool = False
    one_shot: bool = False
    depends_on: tuple[Address, ...] = ()

    @classmethod
    def of(cls, resource: Resource, fingerprint: str, instance: str) -> Record:
        """What there is to remember of a resource that was made."""
        return cls(fingerprint, instance, resource.holds_data, resource.one_shot, resource.depends_on)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything remembered of one agent on one target.

    ``release`` is the number of the one that stands (0 for none). ``unsettled`` are addresses at which a step was begun and
    not ended. ``before`` are the resources of that release: what the fields were that can't be read back.
    ``source`` is the manifest that it is applied from, when that is known.
    """

    release: int = 0
    records: Mapping[Address, Record] = field(default_factory=dict)
    unsettled: frozenset[Address] = frozenset()
    before: Mapping[Address, Resource] = field(default_factory=dict)
    source: Source | None = None


def address_from_text(text: str, target: str, driver: str) -> Address:
    """The address that ``str`` made short."""
    kind, _, name = text.partition("/")
    return Address(target, driver, kind, name)


def record_to_json(record: Record) -> dict[str, object]:
    """JSON without what is empty."""
    content: dict[str, object] = {"fingerprint": record.fingerprint}
    if record.instance:
        content["instance"] = record.instance
    if record.holds_data:
        content["holds_data"] = True
    if record.one_shot:
        content["one_shot"] = True
    if record.depends_on:
        content["depends_on"] = [str(address) for address in record.depends_on]
    return content


def record_from_json(content: Mapping[str, object], target: str, driver: str) -> Record:
    """The record of ``record_to_json``; raises ``KeyError`` or ``TypeError`` when it is not one."""
    needs = content.get("depends_on", [])
    if not isinstance(needs, list):
        message = "depends_on is not a list"
        raise TypeError(message)
    return Record(
        fingerprint=str(content["fingerprint"]),
        instance=str(content.get("instance", "")),
        holds_data=bool(content.get("holds_data", False)),
        one_shot=bool(content.get("one_shot", False)),
        depends_on=tuple(address_from_text(str(need), target, driver) for need in needs),
    )
