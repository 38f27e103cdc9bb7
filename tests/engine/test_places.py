"""A target of several machines: what fails on one, or can't be reached, leaves the others whole and is never taken for gone."""

from __future__ import annotations

from typing import Any

import pytest

from paictl.engine.intent import Options
from paictl.engine.model import Resource
from paictl.errors import PartlyApplied, Unreachable
from tests.engine.graphs import Bench, graph, lines, wanting


def _three(**ports: int) -> tuple[Resource, ...]:
    words: dict[str, dict[str, Any]] = {}
    for place in ("desk", "pi", "shed"):
        words[f"base/{place}"] = {"place": place}
        spec = {"port": ports.get(place, 1)}
        words[f"service/on-{place}"] = {"place": place, "needs": [f"base/{place}"], "spec": spec}
    return graph(words)


def _standing(bench: Bench) -> set[str]:
    return {thing.address for thing in bench.world.things.values()}


@pytest.mark.promise(10)
def test_a_failure_on_one_machine_leaves_the_others_whole(bench: Bench) -> None:
    bench.faults.fail["create:base/pi"] = 1
    with pytest.raises(PartlyApplied, match="create base/pi failed") as told:
        bench.reconciler().apply(wanting(_three()))
    assert "1 failed (base/pi), 1 not started" in str(told.value)
    assert _standing(bench) == {"base/desk", "base/shed", "service/on-desk", "service/on-shed"}
    again = bench.reconciler().apply(wanting(_three())).plan
    assert {str(step.address) for step in again.steps} == {"base/pi", "service/on-pi"}


def _chain(place: str) -> dict[str, dict[str, Any]]:
    """Long enough for a failure that comes at once to be known before its end."""
    words: dict[str, dict[str, Any]] = {f"{place}/00": {"place": place}}
    return words | {f"{place}/{n:02}": {"place": place, "needs": [f"{place}/{n - 1:02}"]} for n in range(1, 20)}


@pytest.mark.promise(10)
def test_a_failure_stops_what_has_not_begun_on_its_machine(bench: Bench) -> None:
    bench.faults.fail["create:base/pi"] = 1
    with pytest.raises(PartlyApplied):
        bench.reconciler().apply(wanting(graph({"base/pi": {"place": "pi"}, **_chain("pi"), **_chain("desk")})))
    assert "desk/19" in _standing(bench)
    assert "pi/19" not in _standing(bench)


@pytest.mark.promise(10)
def test_what_is_nowhere_in_particular_does_not_begin_after_a_failure(bench: Bench) -> None:
    bench.faults.fail["create:base/pi"] = 1
    words: dict[str, dict[str, Any]] = {"base/pi": {"place": "pi"}, **_chain("desk")}
    joint = graph({**words, "file/joint": {"needs": ["desk/19"]}})
    with pytest.raises(PartlyApplied):
        bench.reconciler().apply(wanting(joint))
    assert "desk/19" in _standing(bench)
    assert "file/joint" not in _standing(bench)


@pytest.mark.promise(4)
def test_a_machine_that_is_away_is_left_alone_and_told(bench: Bench) -> None:
    bench.reconciler().apply(wanting(_three()))
    bench.faults.away["pi"] = "it did not answer"
    made = bench.reconciler().plan(wanting(_three(pi=2, desk=2)))
    assert lines(made) == ["~ service/on-desk because port changed"]
    assert [str(address) for address in made.unseen] == ["base/pi", "service/on-pi"]
    with pytest.raises(PartlyApplied, match="pi was not reached: it did not answer"):
        bench.reconciler().apply(wanting(_three(pi=2, desk=2)))
    assert {thing.spec["port"] for thing in bench.world.things.values() if thing.address == "service/on-desk"} == {2}
    bench.faults.away.clear()
    back = bench.reconciler().apply(wanting(_three(pi=2, desk=2)))
    assert lines(back.plan) == ["~ service/on-pi because port changed"]
    assert back.release == 2


@pytest.mark.promise(4)
def test_nothing_to_do_elsewhere_is_still_an_error_while_a_machine_is_away(bench: Bench) -> None:
    bench.reconciler().apply(wanting(_three()))
    bench.faults.away["pi"] = "it did not answer"
    effects = bench.world.effects
    with pytest.raises(Unreachable, match="pi was not reached"):
        bench.reconciler().apply(wanting(_three()))
    assert bench.world.effects == effects
    status = bench.reconciler().status()
    assert not status.ready
    assert {str(row.address) for row in status.resources if row.state == "away"} == {"base/pi", "service/on-pi"}


@pytest.mark.promise(4, 12)
def test_a_destroy_without_a_machine_takes_the_rest_and_the_next_one_goes_on(bench: Bench) -> None:
    bench.reconciler().apply(wanting(_three()))
    bench.faults.away["pi"] = "it did not answer"
    with pytest.raises(PartlyApplied, match="pi was not reached"):
        bench.reconciler().destroy()
    assert _standing(bench) == {"base/pi", "service/on-pi"}
    bench.faults.away.clear()
    bench.reconciler().destroy()
    assert _standing(bench) == set()


@pytest.mark.promise(4)
def test_what_would_move_from_a_machine_that_is_away_stays_there(bench: Bench) -> None:
    bench.reconciler().apply(wanting(graph({"service/agent": {"place": "pi"}, "service/other": {"place": "desk"}})))
    bench.faults.away["pi"] = "it did not answer"
    moved = graph({"service/agent": {"place": "desk"}, "service/other": {"place": "desk"}})
    made = bench.reconciler().plan(wanting(moved), Options())
    assert made.empty
    assert [str(address) for address in made.unseen] == ["service/agent"]
