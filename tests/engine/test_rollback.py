from __future__ import annotations

import pytest

from paictl.engine.intent import Declared, Desired, Options
from paictl.errors import PaictlError, PartlyApplied, Refused
from tests.engine.graphs import Bench, lines, small_graph, wanting

OLD = small_graph()
NEW = small_graph(agent={"port": 2}, model={"image": "b"})


@pytest.mark.promise(17)
def test_a_rollback_is_an_ordinary_plan_to_an_earlier_release(bench: Bench) -> None:
    bench.reconciler().apply(wanting(OLD))
    bench.reconciler().apply(wanting(NEW))
    shown = bench.reconciler().plan_rollback()
    applied = bench.reconciler().rollback(options=Options(expect=shown.hash))
    assert lines(applied.plan) == [
        "+ service/model because image changed, which can't be done in place",
        "~ service/agent because port changed; downtime",
        "- service/model because its successor has taken over",
    ]
    assert applied.release == 3
    assert bench.reconciler().plan(wanting(OLD)).empty
    assert [(release.number, release.verb, release.who) for release in bench.reconciler().history()] == [
        (1, "apply", "alice"),
        (2, "apply", "alice"),
        (3, "rollback", "alice"),
    ]


@pytest.mark.promise(17)
def test_rolling_back_to_nowhere_is_refused(bench: Bench) -> None:
    bench.reconciler().apply(wanting(OLD))
    with pytest.raises(Refused, match="there is no earlier release"):
        bench.reconciler().rollback()
    with pytest.raises(Refused, match="there is no release 7 to go back to; kept are: 1"):
        bench.reconciler().rollback(7)


@pytest.mark.promise(17)
def test_rollback_on_failure_ends_on_the_old_release_healthy_with_exit_5(bench: Bench) -> None:
    bench.reconciler().apply(wanting(OLD))
    bench.faults.fail_after["update:service/agent"] = 1
    with pytest.raises(PartlyApplied) as failure:
        bench.reconciler().apply(wanting(NEW), Options(rollback_on_failure=True))
    assert failure.value.exit_code == 5
    assert failure.value.summary.endswith("went back to release 1, which is healthy")
    assert "update service/agent failed" in failure.value.summary
    assert bench.reconciler().plan(wanting(OLD)).empty
    status = bench.reconciler().status()
    assert (status.release, status.ready) == (1, True)
    assert [release.number for release in bench.reconciler().history()] == [1]


@pytest.mark.promise(17)
def test_without_being_asked_a_failure_is_left_as_it_is(bench: Bench) -> None:
    bench.reconciler().apply(wanting(OLD))
    bench.faults.fail["update:service/agent"] = 1
    with pytest.raises(PartlyApplied):
        bench.reconciler().apply(wanting(NEW))
    agent = bench.world.get(("service/agent", ""))
    assert agent is not None
    assert agent.spec == {"port": 1}
    assert lines(bench.reconciler().drift()) == [
        "~ service/agent because an interrupted run left it unfinished",
        "- service/model because its successor has taken over",
    ]


@pytest.mark.promise(17)
def test_going_back_that_fails_too_says_both(bench: Bench) -> None:
    bench.reconciler().apply(wanting(OLD))
    bench.faults.fail_after["update:service/agent"] = -1
    with pytest.raises(PartlyApplied, match="and going back to release 1 failed too: update service/agent failed"):
        bench.reconciler().apply(wanting(NEW), Options(rollback_on_failure=True))


@pytest.mark.promise(17, 19)
def test_a_change_that_breaks_continuity_is_undone(bench: Bench) -> None:
    bench.reconciler().apply(wanting(OLD))
    asked: list[object] = []

    def gate(_: Desired) -> None:
        asked.append(bench.standing()["service/agent"][0])
        raise PaictlError("it no longer knows who Dana is", help="Look at its memory.")

    with pytest.raises(PartlyApplied) as failure:
        bench.reconciler().apply(wanting(NEW), gate=gate)
    assert asked == [{"port": 2}]
    assert failure.value.summary == "it no longer knows who Dana is\nwent back to release 1, which is healthy"
    assert failure.value.help == "Look at its memory."
    assert bench.reconciler().plan(wanting(OLD)).empty


@pytest.mark.promise(17, 19)
def test_what_a_rollback_brings_back_is_held_to_what_was_declared_of_it(bench: Bench) -> None:
    before, after = Declared({"tidy": "0 1 * * *"}, "old"), Declared({"tidy": "0 2 * * *"}, "new")
    bench.reconciler().apply(lambda: Desired(OLD, declared=before))
    bench.reconciler().apply(lambda: Desired(NEW, declared=after))
    asked: list[Declared] = []
    bench.reconciler().rollback(gate=lambda desired: asked.append(desired.declared))
    assert asked == [before]
    bench.reconciler().rollback(gate=lambda desired: asked.append(desired.declared))
    assert asked == [before, after]


@pytest.mark.promise(17)
def test_a_first_apply_that_is_not_proven_says_that_there_is_nothing_to_go_back_to(bench: Bench) -> None:
    def gate(_: Desired) -> None:
        raise PaictlError("it does not answer")

    with pytest.raises(
        PartlyApplied, match="it does not answer\nthere is no earlier release to go back to; what was made stands"
    ):
        bench.reconciler().apply(wanting(OLD), gate=gate)
    assert bench.reconciler().history() == ()


def test_an_apply_that_changes_nothing_asks_nobody(bench: Bench) -> None:
    bench.reconciler().apply(wanting(OLD))

    def never(*_: object) -> bool:
        raise AssertionError

    bench.reconciler().apply(wanting(OLD), consent=never, gate=never)  # type: ignore[arg-type] # it is not called
