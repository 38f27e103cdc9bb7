"""What goes wrong in a fake world, as data: set by tests, or read from a JSON file beside the world."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from paictl.engine.model import Health

__all__ = ["Faults"]


@dataclass
class Faults:
    """Steps are named by id, resources by their short address.

    ``fail`` and ``fail_after``: how many times carrying out a step fails, before or after its effect; -1 for always.
    ``die``: kill -9 half-way through these steps. ``health``: what the first probes of a resource find; the last one stays when
    it is not healthy. ``terminal``: what it says when it gives up for good. ``preflight``: refused with that reason.
    ``away``: places of the world that can't be read, with why.
    """

    fail: dict[str, int] = field(default_factory=dict)
    fail_after: dict[str, int] = field(default_factory=dict)
    die: set[str] = field(default_factory=set)
    health: dict[str, list[str]] = field(default_factory=dict)
    terminal: dict[str, str] = field(default_factory=dict)
    unreachable: bool = False
    partial: bool = False
    preflight: str = ""
    away: dict[str, str] = field(default_factory=dict)

    @classmethod
    def beside(cls, world: Path) -> Faults:
        """From ``WORLD.faults.json``, or none."""
        path = world.with_suffix(".faults.json")
        if not path.exists():
            return cls()
        content = json.loads(path.read_text())
        return cls(**{**content, "die": set(content.get("die", ()))})

    def fails(self, which: Mapping[str, int], step: str) -> bool:
        """Whether the step fails this time; counts down."""
        left = which.get(step, 0)
        if left > 0:
            (self.fail if which is self.fail else self.fail_after)[step] = left - 1
        return left != 0

    def probe(self, address: str) -> Health | None:
        """What a probe of the resource finds; None when nothing is wrong with it."""
        if address in self.terminal:
            return Health("unhealthy", self.terminal[address], terminal=True)
        found = self.health.get(address)
        if not found:
            return None
        state = found[0]
        if len(found) > 1 or state == "healthy":
            found.pop(0)
        return Health(state, f"the fake says {state}")  # type: ignore[arg-type] # a test writes what a probe can find
