from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from paictl.blueprint.compile import Resolved, compile_blueprint
from paictl.drivers.fake.render import render
from paictl.engine.model import Resource
from paictl.manifest.load import load
from tests.blueprint.manifests import CHAT, EMBED, RESOLVED
from tests.crash.matrix import SCENARIOS, Graphs, Scenario, Server, converges, moments, next_version
from tests.engine.graphs import resource, small_graph

_EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/agent.yaml"))
_POINTS = {
    "before-begin", "after-begin", "after-effect", "after-end", "during-wait", "during-state-write", "before-unlock"
}  # fmt: skip
_SAMPLED = 6


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    serving = Server()
    yield serving
    serving.close()


def _by_hand() -> Graphs:
    """A small graph with everything in it: data, a job, both kinds of replacement."""
    gateway = resource("service/gateway", {"replace_on": ["listen"], "spec": {"listen": 1}, "needs": ["service/agent"]})
    first = (*small_graph(), gateway, resource("service/leaf"))
    return first, next_version(first)


def _example(path: Path) -> Graphs:
    """An example of the repository as the fake driver renders it, with one change of everything after it."""
    manifest = load([path], env={})
    spec = manifest.agent.spec
    models = {name: EMBED if one.task == "embed" else CHAT for name, one in spec.models.items() if one.is_local}
    resolved = Resolved(RESOLVED.runtime, models, dict.fromkeys(spec.secrets, "f1"), threads=1)
    rendered = tuple(_here(one) for one in render(compile_blueprint(manifest, resolved)))
    return rendered, next_version(rendered)


def _here(one: Resource) -> Resource:
    """On the target of these tests."""
    needs = {"needs": [str(need) for need in one.depends_on], "replace_on": one.replace_on}
    flags = {"data": one.holds_data, "beside": one.create_first, "downtime": one.downtime}
    return resource(str(one.address), {"spec": one.spec, "probe": one.probe is not None, **needs, **flags})


def _matrix(server: Server, folder: Path, scenario: Scenario, graphs: Graphs, every: int) -> set[str]:
    """Kill at (a sample of) all moments; the kinds of points that were met."""
    prepared, whole = folder / "prepared", folder / "whole"
    for place in (prepared, whole):
        server.prepare(place, scenario, graphs)
        place.mkdir(exist_ok=True)
    expected, points = server.uninterrupted(whole, scenario, graphs)
    for kill in moments(points, every):
        converges(server, prepared, folder / "work", scenario, graphs, expected, [kill])
    return {point for point, _, _ in points}


@pytest.mark.promise(14)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_kill_9_loses_and_doubles_nothing(server: Server, tmp_path: Path, scenario: Scenario) -> None:
    met = _matrix(server, tmp_path, scenario, _by_hand(), every=2)
    assert met == _POINTS - ({"during-wait"} if scenario.verb == "destroy" else set())


@pytest.mark.slow
@pytest.mark.promise(14)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_kill_9_within_the_recovery_loses_and_doubles_nothing(
    server: Server, tmp_path: Path, scenario: Scenario
) -> None:
    _recovery(server, tmp_path, scenario, _by_hand(), every=12)


def _recovery(server: Server, folder: Path, scenario: Scenario, graphs: Graphs, every: int) -> None:
    """Kill at a moment, then kill the run that recovers from it at each (or a sample) of the moments that one has."""
    prepared, whole = folder / "prepared", folder / "whole"
    for place in (prepared, whole):
        server.prepare(place, scenario, graphs)
        place.mkdir(exist_ok=True)
    expected, points = server.uninterrupted(whole, scenario, graphs)
    for number, first in enumerate(moments(points, every)):
        crashed, traced = folder / f"crashed-{number}", folder / f"traced-{number}"
        shutil.copytree(prepared, crashed)
        assert server.run(crashed, scenario.verb, graphs[scenario.version], first) == -9
        shutil.copytree(crashed, traced)
        recovered, seconds = server.uninterrupted(traced, scenario, graphs)
        assert recovered == expected
        for second in moments(seconds, every):
            converges(server, crashed, folder / "work", scenario, graphs, expected, [second])


@pytest.mark.promise(14)
def test_kill_9_half_way_through_a_replacement_makes_the_rest_of_it(server: Server, tmp_path: Path) -> None:
    graphs, scenario = _by_hand(), SCENARIOS[1]
    prepared, whole = tmp_path / "prepared", tmp_path / "whole"
    for place in (prepared, whole):
        server.prepare(place, scenario, graphs)
    expected, _ = server.uninterrupted(whole, scenario, graphs)
    assert server.run(prepared, "apply", graphs[1], die=["replace:service/gateway"]) == -9
    again = tmp_path / "again"
    converges(server, prepared, again, scenario, graphs, expected, [])


@pytest.mark.slow
@pytest.mark.promise(14)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("every", [_SAMPLED, pytest.param(1, marks=pytest.mark.heavy)], ids=["sampled", "all"])
def test_kill_9_loses_and_doubles_nothing_in_an_example(
    server: Server, tmp_path: Path, scenario: Scenario, path: Path, every: int
) -> None:
    _matrix(server, tmp_path, scenario, _example(path), every)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.promise(14)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_kill_9_at_every_point_of_every_recovery(server: Server, tmp_path: Path, scenario: Scenario) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    for folder in (once, twice):
        folder.mkdir()
    _matrix(server, once, scenario, _by_hand(), every=1)
    _recovery(server, twice, scenario, _by_hand(), every=2)
