"""Everything remembered of one agent on one target: state, journal and releases together, kept consistent through any crash.

Opened by ``reconcile`` under the lock by what writes; ``recollection`` reads the same for what only looks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from paictl.engine.codec import resource_to_json
from paictl.engine.fingerprint import fingerprint, matches
from paictl.engine.intent import Desired
from paictl.engine.inventory import Inventory, Record
from paictl.engine.journal import Entry, Journal
from paictl.engine.model import Address, Observation, Plan, Resource
from paictl.engine.outcome import Release
from paictl.engine.ownership import Source
from paictl.engine.points import OnPoint
from paictl.engine.recollection import Place, fold, recall, warn
from paictl.engine.state import is_state, to_target, write_state
from paictl.events import Emit

__all__ = ["Ledger", "Stamp", "remember"]


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who made a release, by which verb, when (ISO 8601), and from which manifest."""

    who: str
    verb: str
    when: str
    source: Source | None = None


class Ledger:
    """An open ledger. Whoever opens it holds the lock."""

    def __init__(self, place: Place, emit: Emit, on_point: OnPoint) -> None:
        self.place = place
        self._on_point = on_point
        self._inventory = recall(place, emit)
        self._fresh: list[Entry] = []
        self._journal: Journal | None = None
        if place.journal.exists() and place.journal.stat().st_size:
            self._settle(emit)

    @property
    def inventory(self) -> Inventory:
        """What is remembered now, with what was committed since."""
        if self._fresh:
            self._inventory = fold(self._inventory, self._fresh, self.place.scope.target, self.place.driver.name)
            self._fresh = []
        return self._inventory

    def _settle(self, emit: Emit) -> None:
        """Bring what a crash or a failure left in the journal into the state."""
        names = ", ".join(str(address) for address in sorted(self.inventory.unsettled))
        if names:
            warn(emit, "unfinished", f"an earlier run did not finish {names}; going on from there")
        self._write()
        Journal(self.place.journal).retire()

    def commit(self, entries: Sequence[Entry]) -> None:
        """Make entries durable and remember them."""
        if self._journal is None:
            self._journal = Journal(self.place.journal)
        self._journal.commit(entries)
        self._fresh.extend(entries)

    def record(self, desired: Desired, plan: Plan, observation: Observation, stamp: Stamp) -> int:
        """Everything desired stands: keep it as a release, if it is not the last one, and write it all down.

        Returns the number of the release that stands; 0 when nothing is desired. A crash between any two of
        the writes is mended by the next run.
        """
        number = self._release(desired, stamp) if desired.resources else 0
        after = remember(desired, plan, observation, self.inventory)
        # Of an agent of which nothing is left nobody is the owner.
        source = (stamp.source or self.inventory.source) if after.records else None
        self._conclude(replace(after, release=number, source=source))
        return number

    def _release(self, desired: Desired, stamp: Stamp) -> int:
        releases = self.place.releases
        numbers = releases.numbers()
        last = releases.find(numbers[-1]) if numbers else None
        # One that is older than what the target tells of was followed by somebody else's, whose number is theirs.
        newest = last is not None and last.number >= self.inventory.release
        if last is not None and newest and _bare(last.resources) == _bare(desired.resources):
            return last.number
        release = Release(
            number=max([self.inventory.release, *numbers]) + 1,
            driver=self.place.driver.name,
            when=stamp.when,
            who=stamp.who,
            verb=stamp.verb,
            resources=tuple(desired.resources),
            manifest=desired.manifest,
            lock=desired.lock,
            runtime=desired.runtime,
            declared=desired.declared,
        )
        releases.write(release, self._on_point)
        return release.number

    def _conclude(self, inventory: Inventory) -> None:
        changed = inventory != self.inventory or not is_state(self.place.state, inventory, self.place.driver.name)
        self._inventory = inventory
        if changed or self._journal is not None:
            self._write()
        if self._journal is not None:
            self._journal.retire()
            self._journal = None

    def _write(self) -> None:
        write_state(self.place.state, self.inventory, self.place.driver.name, self._on_point)
        self.place.driver.save_inventory(self.place.scope, to_target(self.inventory, self.place.driver.name))

    def close(self) -> None:
        """Let go of the journal; what it says stays for the next run to settle."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def remember(desired: Desired, plan: Plan, observation: Observation, inventory: Inventory) -> Inventory:
    """What to remember once everything desired stands: each of it, and the data that is kept although nothing asks for it."""
    standing = {observed.address: observed for observed in observation.resources if observed.owner == "mine"}
    records: dict[Address, Record] = {}
    for resource in desired.resources:
        held, observed, label = (
            inventory.records.get(resource.address),
            standing.get(resource.address),
            fingerprint(resource.spec),
        )
        if held is not None and matches(resource.spec, held.fingerprint, label):
            record = Record.of(resource, held.fingerprint, held.instance)
        else:
            record = Record.of(resource, label, observed.instance if observed is not None else "")
        # What once held data is protected as long as it stands, whatever the manifest says now.
        data = record.holds_data or (held is not None and held.holds_data)
        records[resource.address] = replace(record, holds_data=data)
    for address in plan.kept:
        if address not in records:
            seen = standing[address]
            known = inventory.records.get(address) or Record(
                seen.fingerprint, seen.instance, depends_on=seen.depends_on
            )
            records[address] = replace(known, holds_data=True)
    return replace(inventory, records=records, unsettled=frozenset())


def _bare(resources: Iterable[Resource]) -> list[str]:
    """The resources without the lines of the manifest that they came from: moving a block is not a release."""
    bare = (resource_to_json(replace(resource, origin=None)) for resource in resources)
    return sorted(json.dumps(content, sort_keys=True) for content in bare)
