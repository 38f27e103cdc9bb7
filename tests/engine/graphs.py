"""Graphs of resources in few words, and a reconciler on a fake world: what every test of the engine begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paictl.clock import Clock, ManualClock
from paictl.drivers.fake import FakeDriver, Faults
from paictl.engine.driver import Scope
from paictl.engine.intent import Desired
from paictl.engine.model import Address, Probe, Resource
from paictl.engine.points import OnPoint, pass_by
from paictl.engine.reconciler import Reconciler
from paictl.errors import Span
from paictl.events import Event

__all__ = ["SCOPE", "Bench", "at", "graph", "lines", "no_secrets", "resource", "small_graph", "wanting"]

SCOPE = Scope("atlas", "laptop")


def at(text: str) -> Address:
    kind, _, name = text.partition("/")
    return Address(SCOPE.target, "fake", kind, name)


def resource(address: str, content: Mapping[str, Any] | None = None) -> Resource:
    """From the words used in data files: spec, needs, probe, replace_on, data, once, beside, downtime, place, line."""
    words = dict(content or {})
    line = words.pop("line", None)
    probe = words.pop("probe", address.startswith("service/"))
    made = Resource(
        address=at(address),
        spec=words.pop("spec", {}),
        depends_on=tuple(at(need) for need in words.pop("needs", ())),
        probe=Probe(timeout_seconds=5.0, stable_seconds=0.0) if probe else None,
        replace_on=frozenset(words.pop("replace_on", ())),
        holds_data=words.pop("data", False),
        one_shot=words.pop("once", False),
        create_first=words.pop("beside", False),
        downtime=words.pop("downtime", False),
        place=words.pop("place", ""),
        origin=Span("agent.yaml", line) if line else None,
    )
    assert not words, f"{address}: unknown words {sorted(words)}"
    return made


def graph(content: Mapping[str, Mapping[str, Any] | None]) -> tuple[Resource, ...]:
    return tuple(resource(address, words) for address, words in content.items())


def small_graph(**specs: Mapping[str, Any]) -> tuple[Resource, ...]:
    """A volume with data, a model that can be replaced beside the old one, a job, an agent; specs by name."""
    return graph(
        {
            "volume/memory": {"data": True, "replace_on": ["path"], "spec": specs.get("memory", {"path": "data"})},
            "service/model": {
                "beside": True,
                "replace_on": ["image"],
                "spec": specs.get("model", {"image": "a"}),
            },
            "job/migrate": {"once": True, "needs": ["volume/memory"], "spec": specs.get("migrate", {"to": 1})},
            "service/agent": {
                "needs": ["volume/memory", "service/model", "job/migrate"],
                "downtime": True,
                "spec": specs.get("agent", {"port": 1}),
            },
        }
    )


def no_secrets(name: str) -> bytes:
    raise AssertionError(f"nobody here reads secret {name}")


@dataclass
class Bench:
    """A fake world, a state directory, and everything that was emitted."""

    folder: Path
    faults: Faults = field(default_factory=Faults)
    clock: Clock = field(default_factory=ManualClock)
    on_point: OnPoint = pass_by
    events: list[Event] = field(default_factory=list)
    unread: frozenset[str] = frozenset({"sealed"})

    def __post_init__(self) -> None:
        self.driver = FakeDriver(self.folder / "world.jsonl", self.faults, self.unread)
        self.world = self.driver.world

    @property
    def state(self) -> Path:
        """The ledger's directory."""
        return self.folder / "state" / SCOPE.agent / SCOPE.target

    def reconciler(self, **changes: Any) -> Reconciler:
        settings: dict[str, Any] = {
            "scope": SCOPE,
            "driver": self.driver,
            "state_dir": self.folder / "state",
            "secrets": no_secrets,
            "who": "alice",
            "emit": self.events.append,
            "clock": self.clock,
            "on_point": self.on_point,
        }
        return Reconciler(**{**settings, **changes})

    def warnings(self) -> list[str]:
        return [str(event.data["text"]) for event in self.events if event.type == "warning"]

    def standing(self) -> dict[str, tuple[Mapping[str, Any], bool]]:
        """What of ours stands: address -> spec and whether it runs. Instances are left out: only one may remain of each."""
        found: dict[str, tuple[Mapping[str, Any], bool]] = {}
        for thing in self.world.things.values():
            if thing.owner == "mine":
                assert thing.address not in found, f"two of {thing.address} stand"
                found[thing.address] = (thing.spec, thing.running)
        return found


def lines(text: object) -> list[str]:
    """A plan's golden lines, with their padding taken out."""
    return [" ".join(line.split()) for line in str(text).splitlines()]


def wanting(resources: Iterable[Resource]) -> Callable[[], Desired]:
    found: Sequence[Resource] = tuple(resources)
    return lambda: Desired(tuple(found))
