from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paictl.engine.intent import Options
from paictl.errors import PartlyApplied, ProtectedData, Refused, StalePlan, Unreachable
from tests.engine.graphs import Bench, graph, lines, small_graph, wanting


def _tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every path below, with size and time of its last change."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found


@pytest.mark.promise(1)
def test_a_plan_writes_nothing_and_is_the_same_twice(bench: Bench) -> None:
    first = bench.reconciler().plan(wanting(small_graph()))
    assert not _tree(bench.folder)
    assert lines(first) == [
        "+ service/model because it does not exist",
        "+ volume/memory because it does not exist",
        "> job/migrate because it has not run yet",
        "+ service/agent because it does not exist",
    ]
    assert bench.reconciler().plan(wanting(small_graph())) == first


@pytest.mark.promise(1)
def test_looking_writes_nothing_after_an_apply_and_a_crash(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    bench.faults.fail["update:service/agent"] = 1
    changed = wanting(small_graph(agent={"port": 2}))
    with pytest.raises(PartlyApplied):
        bench.reconciler().apply(changed)
    before = _tree(bench.folder)
    reconciler = bench.reconciler()
    assert str(reconciler.plan(changed)) == str(reconciler.plan(changed))
    reconciler.drift()
    reconciler.status()
    reconciler.history()
    reconciler.plan_destroy()
    assert _tree(bench.folder) == before


@pytest.mark.promise(2)
def test_after_an_apply_the_next_plan_is_empty_and_a_second_apply_changes_nothing(bench: Bench) -> None:
    applied = bench.reconciler().apply(wanting(small_graph()))
    assert applied.release == 1
    before, effects = _tree(bench.state), bench.world.effects
    assert bench.reconciler().plan(wanting(small_graph())).empty
    again = bench.reconciler().apply(wanting(small_graph()))
    assert again.plan.empty
    assert again.release == 1
    assert bench.world.effects == effects
    lock = str(bench.state / "lock")
    assert {path: seen for path, seen in _tree(bench.state).items() if path != lock} == {
        path: seen for path, seen in before.items() if path != lock
    }


@pytest.mark.promise(4)
@pytest.mark.parametrize("fault", ["unreachable", "partial"])
def test_what_can_not_be_read_is_an_error_and_never_a_plan(bench: Bench, fault: str) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    effects = bench.world.effects
    setattr(bench.faults, fault, True)
    reconciler = bench.reconciler()
    for verb in (
        lambda: reconciler.plan(wanting(small_graph())),
        lambda: reconciler.apply(wanting(small_graph())),
        lambda: reconciler.apply(wanting(graph({"service/other": {}})), Options(allow_destroy=True)),
        reconciler.destroy,
        reconciler.drift,
        reconciler.status,
    ):
        with pytest.raises(Unreachable):
            verb()
    assert bench.world.effects == effects


@pytest.mark.promise(5)
def test_a_saved_plan_that_moved_is_refused_and_the_new_one_shown(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    reviewed = bench.reconciler().plan(wanting(small_graph(agent={"port": 2})))
    with pytest.raises(StalePlan) as moved:
        bench.reconciler().apply(wanting(small_graph(agent={"port": 3})), Options(expect=reviewed.hash))
    assert "~ service/agent            because port changed; downtime" in moved.value.summary
    assert bench.standing()["service/agent"][0] == {"port": 1}
    applied = bench.reconciler().apply(wanting(small_graph(agent={"port": 2})), Options(expect=reviewed.hash))
    assert applied.plan.hash == reviewed.hash


@pytest.mark.promise(5)
def test_a_world_that_moves_while_a_person_reads_is_refused_before_the_first_write(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    effects = bench.world.effects

    def slowly(plan: object) -> bool:
        bench.world.remove(("service/agent", ""))
        return True

    with pytest.raises(StalePlan) as moved:
        bench.reconciler().apply(wanting(small_graph(agent={"port": 2})), consent=slowly)
    assert moved.value.summary == (
        "the plan changed while it was being reviewed:\n"
        "no longer: ~ service/agent            because port changed; downtime\n"
        "now:       + service/agent            because it was there and is gone"
    )
    assert bench.world.effects == effects


@pytest.mark.promise(5)
def test_what_came_right_by_itself_while_a_person_reads_is_no_reason_to_refuse(bench: Bench) -> None:
    wanted = wanting(small_graph(agent={"port": 2}))
    bench.reconciler().apply(wanting(small_graph()))
    model = next(thing for thing in bench.world.things.values() if thing.address == "service/model")
    bench.world.put(replace(model, running=False), "stopped by hand")

    def slowly(plan: object) -> bool:
        assert len(lines(plan)) == 2
        bench.world.put(model, "started by hand")
        return True

    applied = bench.reconciler().apply(wanted, consent=slowly)
    assert [str(step.address) for step in applied.plan.steps] == ["service/agent"]
    assert bench.reconciler().plan(wanted).empty


def test_without_consent_nothing_changes(bench: Bench) -> None:
    with pytest.raises(Refused, match="not confirmed"):
        bench.reconciler().apply(wanting(small_graph()), consent=lambda plan: False)
    assert bench.world.effects == []


@pytest.mark.promise(6)
def test_an_empty_manifest_is_refused_without_leave(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    effects = bench.world.effects
    with pytest.raises(ProtectedData, match="would delete 3 of the 4 resources that stand"):
        bench.reconciler().apply(wanting(()))
    assert bench.world.effects == effects
    bench.reconciler().apply(wanting(()), Options(allow_destroy=True))
    assert set(bench.standing()) == {"volume/memory"}


def test_a_resource_that_needs_what_nothing_makes_is_a_bug_that_is_named(bench: Bench) -> None:
    with pytest.raises(Exception, match="service/agent needs volume/nowhere, which nothing makes"):
        bench.reconciler().plan(wanting(graph({"service/agent": {"needs": ["volume/nowhere"]}})))


def test_resources_that_need_each_other_are_named(bench: Bench) -> None:
    circle = graph({"service/a": {"needs": ["service/b"]}, "service/b": {"needs": ["service/a"]}})
    with pytest.raises(Exception, match="need each other: service/a -> service/b -> service/a"):
        bench.reconciler().plan(wanting(circle))
