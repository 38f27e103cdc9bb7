"""Scenarios of the crash matrix: what stands before, what is run, where it is killed, and what must be so in the end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from paictl.drivers.fake import World
from paictl.engine.codec import resource_to_json
from paictl.engine.model import Resource
from tests.engine.graphs import SCOPE, resource

__all__ = ["SCENARIOS", "Graphs", "Kill", "Outcome", "Scenario", "Server", "converges", "moments", "next_version"]

Verb = Literal["apply", "destroy", "rollback"]
Kill = tuple[str, str, int]
Graphs = tuple[tuple[Resource, ...], tuple[Resource, ...]]


def next_version(resources: Sequence[Resource]) -> tuple[Resource, ...]:
    """The same graph after a change of everything at once: replacements, updates, a removal, a new job and a new service."""
    changed = []
    for one in resources:
        keys = sorted(one.replace_on & one.spec.keys())
        if keys and not one.holds_data:
            changed.append(replace(one, spec={**one.spec, keys[0]: "another"}))
        else:
            changed.append(replace(one, spec={**one.spec, "revision": 2}))
    needed = {need for one in resources for need in one.depends_on}
    leaf = max(one.address for one in resources if one.address not in needed)
    kept = [one for one in changed if one.address != leaf]
    return (*kept, resource("job/upgrade", {"once": True}), resource("service/added", {"needs": ["job/upgrade"]}))


@dataclass(frozen=True)
class Scenario:
    """``before``: the applies that stand behind it, as versions of the graph (0 or 1). ``verb`` runs with ``version``."""

    name: str
    before: tuple[int, ...]
    verb: Verb
    version: int


SCENARIOS = (
    Scenario("apply", (), "apply", 0),
    Scenario("replace", (0,), "apply", 1),
    Scenario("destroy", (0,), "destroy", 0),
    Scenario("rollback", (0, 1), "rollback", 0),
)


@dataclass
class Outcome:
    """Everything that has to be the same after a crash and a second run as after one run without."""

    world: dict[str, Any]
    effects: Counter[str]
    state: object
    releases: list[object]

    @classmethod
    def read(cls, folder: Path) -> Outcome:
        world = World(folder / "world.jsonl")
        state = folder / "state" / SCOPE.agent / SCOPE.target
        assert not (state / "journal.jsonl").exists()
        ours = Counter(thing.address for thing in world.things.values() if thing.owner == "mine")
        assert set(ours.values()) <= {1}, f"doubled: {[address for address, count in ours.items() if count > 1]}"
        releases = [json.loads(path.read_text()) for path in sorted((state / "releases").glob("*.json"))]
        return cls(
            world={"@".join(key): thing for key, thing in world.things.items()},
            effects=Counter(_kind(effect) for effect in world.effects),
            state=json.loads((state / "state.json").read_text()),
            releases=[{key: value for key, value in release.items() if key != "when"} for release in releases],
        )


def _kind(effect: str) -> str:
    """Made is made: after a crash half-way through a replacement, the rest of it is a creation."""
    verb, _, address = effect.partition(" ")
    return f"{'make' if verb in ('create', 'update', 'replace') else verb} {address}"


class Server:
    """The fork server, and the runs it makes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(
        self,
        folder: Path,
        verb: Verb,
        desired: Sequence[Resource],
        kill: Kill | None = None,
        *,
        trace: Path | None = None,
        die: Sequence[str] = (),
        agent: str = "",
        namespace: str = "",
    ) -> int:
        """One run to its end, or to its death; a clean failure is no part of the matrix.

        ``agent``: on a Docker engine, with a ``namespace`` in a cluster.
        """
        order = {
            "folder": str(folder),
            "agent": agent,
            "namespace": namespace,
            "verb": verb,
            "data": not agent,
            "desired": [resource_to_json(one) for one in desired],
            "kill": kill,
            "trace": str(trace) if trace else "",
            "die": list(die),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["status"] in (0, -9), answer["error"]
        return cast("int", answer["status"])

    def prepare(self, folder: Path, scenario: Scenario, graphs: Graphs) -> None:
        """What stands before the scenario's own run."""
        for version in scenario.before:
            assert self.run(folder, "apply", graphs[version]) == 0

    def uninterrupted(self, folder: Path, scenario: Scenario, graphs: Graphs) -> tuple[Outcome, list[Kill]]:
        """The scenario without a crash: what must come of it, and every moment at which it can be killed."""
        trace = folder.with_suffix(".trace")
        assert self.run(folder, scenario.verb, graphs[scenario.version], trace=trace) == 0
        points = [cast("Kill", tuple(json.loads(line))) for line in trace.read_text().splitlines()]
        trace.unlink()
        return Outcome.read(folder), points


def converges(
    server: Server,
    prepared: Path,
    work: Path,
    scenario: Scenario,
    graphs: Graphs,
    expected: Outcome,
    kills: Sequence[Kill],
) -> None:
    """Run, be killed at each of the moments, run again to the end: the same as without."""
    shutil.copytree(prepared, work)
    desired = graphs[scenario.version]
    for kill in kills:
        assert server.run(work, scenario.verb, desired, kill) == -9, f"{kill} never came"
    assert server.run(work, scenario.verb, desired) == 0
    reached = Outcome.read(work)
    where = f"{scenario.name} killed at {kills}"
    assert reached.world == expected.world, where
    assert reached.effects == expected.effects, f"{where}: doubled {reached.effects - expected.effects}"
    assert reached.state == expected.state, where
    assert reached.releases == expected.releases, where
    shutil.rmtree(work)


def moments(points: Sequence[Kill], every: int) -> Iterator[Kill]:
    """Every so many of the points, begun elsewhere for each kind, so that all kinds and most steps are met."""
    by_kind: dict[str, list[Kill]] = {}
    for kill in points:
        by_kind.setdefault(kill[0], []).append(kill)
    for offset, kind in enumerate(sorted(by_kind)):
        yield from by_kind[kind][offset % every % len(by_kind[kind]) :: every]
