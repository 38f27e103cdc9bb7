"""What is remembered of one agent on one target, read together from state, journal and releases. Writes nothing.

Called by whoever only looks, and by the ledger when it opens. The target itself stays the truth: a lost state is rebuilt from
the inventory that the driver keeps there, and from what is observed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from paictl.engine.driver import Driver, Scope
from paictl.engine.formats import Damaged
from paictl.engine.inventory import Inventory, address_from_text, record_from_json
from paictl.engine.journal import Entry, replay
from paictl.engine.model import Address
from paictl.engine.releases import Releases
from paictl.engine.state import from_target, read_state
from paictl.errors import PaictlError
from paictl.events import Emit, Event

__all__ = ["Place", "failures", "fold", "recall", "warn"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the ledger of one agent on one target is; ``shared``: the one on the target counts first."""

    scope: Scope
    driver: Driver
    directory: Path
    shared: bool = False

    @property
    def releases(self) -> Releases:
        """The folder of releases."""
        return Releases(self.directory / "releases", self.scope.target)

    @property
    def journal(self) -> Path:
        """The journal of the run that is on, or of one that a crash ended."""
        return self.directory / "journal.jsonl"

    @property
    def state(self) -> Path:
        """The state file."""
        return self.directory / "state.json"


def recall(place: Place, emit: Emit) -> Inventory:
    """What is remembered, with what a crash left in the journal. Writes nothing."""
    target, driver = place.scope.target, place.driver
    inventory = (_as_shared(place, emit) if place.shared else None) or _kept_here(place, emit)
    if inventory is None:
        inventory = _from_target(place, emit)
    journal = replay(place.journal)
    if journal.damaged:
        warn(
            emit,
            "journal-damaged",
            f"{place.journal} has {journal.damaged} damaged lines; going by what the target shows",
        )
    inventory = fold(inventory, journal.entries, target, driver.name)
    release = place.releases.find(inventory.release)
    before = {resource.address: resource for resource in release.resources} if release is not None else {}
    return replace(inventory, before=before)


def _kept_here(place: Place, emit: Emit) -> Inventory | None:
    try:
        return read_state(place.state, place.scope.target, place.driver.name)
    except Damaged as damage:
        warn(emit, "state-damaged", f"{place.state} is damaged ({damage}); rebuilding it from the target")
        return None


def _as_shared(place: Place, emit: Emit) -> Inventory | None:
    """What whoever was last has written down on the target; None when that can't be told."""
    try:
        found = _from_target(place, emit)
    except PaictlError:
        # Whoever plans or changes learns of it by looking there.
        return None
    return found if found.records else None


def _from_target(place: Place, emit: Emit) -> Inventory:
    content = place.driver.load_inventory(place.scope)
    if content is None:
        return Inventory()
    try:
        return from_target(content, place.scope.target, place.driver.name)
    except Damaged as damage:
        warn(
            emit, "inventory-damaged", f"the inventory on the target is damaged ({damage}); going by what stands there"
        )
        return Inventory()


def failures(place: Place) -> Mapping[Address, str]:
    """Why steps of the last run failed, as long as no run went on from there."""
    found: dict[Address, str] = {}
    for entry in replay(place.journal).entries:
        address = address_from_text(str(entry["address"]), place.scope.target, place.driver.name)
        if entry["type"] == "failed":
            found[address] = str(entry["reason"])
        else:
            found.pop(address, None)
    return found


def fold(inventory: Inventory, entries: Iterable[Entry], target: str, driver: str) -> Inventory:
    """The inventory after these entries of a journal; the same however often it is done."""
    records, unsettled = dict(inventory.records), set(inventory.unsettled)
    for entry in entries:
        address = address_from_text(str(entry["address"]), target, driver)
        if entry["type"] == "begin" and entry["action"] != "delete":
            unsettled.add(address)
        elif entry["type"] == "end" and entry["action"] != "delete":
            unsettled.discard(address)
            records[address] = record_from_json(cast("Mapping[str, object]", entry["record"]), target, driver)
        elif entry["type"] == "end" and entry.get("gone"):
            unsettled.discard(address)
            records.pop(address, None)
    return replace(inventory, records=records, unsettled=frozenset(unsettled))


def warn(emit: Emit, code: str, text: str) -> None:
    """Tell of what was found amiss with the records."""
    emit(Event("warning", data={"code": code, "text": text}))
