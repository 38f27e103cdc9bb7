"""Dependency order: what comes before what, the same every time. Called by the planner; pure."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from paictl.engine.model import Address
from paictl.errors import PaictlError

__all__ = ["in_order"]

Edges = Mapping[Address, Sequence[Address]]


def in_order(edges: Edges, *, break_cycles: bool = False) -> list[Address]:
    """The addresses with each one after all that it depends on; ties go by address.

    Dependencies outside of ``edges`` are passed over. What is *desired* must not go in circles: ``PaictlError`` names the
    circle. What *stands* may (an apply that reversed a dependency and failed half-way): ``break_cycles`` then takes the
    smallest address first.
    """
    waiting = {address: {need for need in needs if need in edges} for address, needs in edges.items()}
    dependents: dict[Address, list[Address]] = {address: [] for address in edges}
    for address, needs in waiting.items():
        for need in needs:
            dependents[need].append(address)
    ready = [address for address, needs in waiting.items() if not needs]
    heapq.heapify(ready)
    ordered: list[Address] = []
    while len(ordered) < len(edges):
        if not ready:
            if not break_cycles:
                raise PaictlError(
                    f"these resources need each other: {_circle(waiting)}",
                    help="This is a bug in the driver; please report it.",
                )
            ready.append(min(waiting))
        address = heapq.heappop(ready)
        if waiting.pop(address, None) is None:
            continue
        ordered.append(address)
        for dependent in dependents[address]:
            left = waiting.get(dependent)
            if left is not None:
                left.discard(address)
                if not left:
                    heapq.heappush(ready, dependent)
    return ordered


def _circle(waiting: Mapping[Address, set[Address]]) -> str:
    """One circle among addresses that all still wait for one another."""
    path = [min(waiting)]
    while True:
        following = min(waiting[path[-1]])
        if following in path:
            return " -> ".join(str(address) for address in [*path[path.index(following) :], following])
        path.append(following)
