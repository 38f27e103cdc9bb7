"""What has to go: the old one of two at an address, and what nothing asks for any more. Called by the planner; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from paictl.engine import causes
from paictl.engine.case import holds_data, step_id
from paictl.engine.inventory import Record
from paictl.engine.model import Address, DataEffect, Observed, Resource, Step
from paictl.engine.order import in_order

__all__ = ["Removal", "prune", "retire"]

_MAKING, _PRUNING = 0, 1  # the phases of ``Step``


@dataclass
class Removal:
    """Steps that delete; ``kept`` are the addresses that stay for their data, ``destroyed`` the steps that end some."""

    steps: list[Step] = field(default_factory=list)
    kept: list[Address] = field(default_factory=list)
    destroyed: list[Step] = field(default_factory=list)


def retire(
    retired: Sequence[tuple[Address, Observed]], desired: Mapping[Address, Resource], steps: Sequence[Step]
) -> Removal:
    """Of two that stand at one address, remove the old one: after its successor and whoever was on the way to that.

    Who stood on it and goes as well goes first.
    """
    removal = Removal()
    users: dict[Address, list[str]] = {address: [] for address, _ in retired}
    making = {step.address: step.id for step in steps}
    for resource in desired.values() if retired else ():
        for need in resource.depends_on:
            if need in users and resource.address in making:
                users[need].append(making[resource.address])
    going = [(address, observed) for address, observed in retired if not holds_data(observed, None)]
    place = {address: number for number, address in enumerate(_made_in_order(going))}
    for address, observed in going:
        for need in observed.depends_on:
            if need in place and place[need] < place[address]:
                users[need].append(step_id("delete", address, observed.instance))
    for address, observed in retired:
        if holds_data(observed, None):
            removal.kept.append(address)
            continue
        own = [making[address]] if address in making else []
        needs = tuple(sorted({*own, *users[address]}))
        # One that paictl made bears a label.
        cause = causes.SUCCEEDED if observed.fingerprint else causes.SURPLUS
        removal.steps.append(_delete(observed, cause, needs, _MAKING))
    return removal


def prune(
    unwanted: Sequence[Observed], records: Mapping[Address, Record], cause: str, delete_data: frozenset[str]
) -> Removal:
    """Remove what is ours and no longer desired, in the exact reverse of the order in which it was made."""
    removal = Removal()
    groups: dict[Address, list[Observed]] = {}
    for observed in unwanted:
        groups.setdefault(observed.address, []).append(observed)
    edges = {address: _dependencies(group, records.get(address)) for address, group in groups.items()}
    dependents: dict[Address, list[str]] = {address: [] for address in groups}
    # The order is that of everything, kept data too, so that it is the reverse of how it was made.
    for address in reversed(in_order(edges, break_cycles=True)):
        needs = tuple(sorted(dependents[address]))
        made = []
        for observed in groups[address]:
            data = holds_data(observed, records.get(address))
            if data and str(address) not in delete_data:
                removal.kept.append(address)
                continue
            step = _delete(observed, cause, needs, _PRUNING, destroys=data)
            made.append(step.id)
            removal.steps.append(step)
            removal.destroyed += [step] if data else []
        for need in _others(edges[address], address, dependents):
            dependents[need].extend(made)
    return removal


def _made_in_order(standing: Sequence[tuple[Address, Observed]]) -> list[Address]:
    edges: dict[Address, list[Address]] = {address: [] for address, _ in standing}
    for address, observed in standing:
        edges[address] += observed.depends_on
    return in_order(edges, break_cycles=True)


def _others(needs: Sequence[Address], address: Address, known: Mapping[Address, object]) -> Iterator[Address]:
    return (need for need in needs if need in known and need != address)


def _delete(observed: Observed, cause: str, needs: tuple[str, ...], phase: int, *, destroys: bool = False) -> Step:
    return Step(
        id=step_id("delete", observed.address, observed.instance),
        address=observed.address,
        action="delete",
        cause=cause,
        needs=needs,
        expects=observed.token,
        effect=DataEffect(destroys=True) if destroys else None,
        observed=observed,
        instance=observed.instance,
        phase=phase,
    )


def _dependencies(group: Sequence[Observed], record: Record | None) -> list[Address]:
    found = {need for observed in group for need in observed.depends_on}
    return sorted(found | set(record.depends_on if record is not None else ()))
