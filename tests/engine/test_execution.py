from __future__ import annotations

import os
import resource
import signal
import threading
import time
from pathlib import Path
from typing import cast

import pytest

from paictl.clock import SystemClock
from paictl.drivers.fake import FakeDriver
from paictl.engine.driver import SecretReader
from paictl.engine.executor import PARALLEL
from paictl.engine.journal import replay
from paictl.engine.model import Health, Probe, Resource, Step
from paictl.engine.points import Point
from paictl.errors import Interrupted, PaictlError, PartlyApplied
from paictl.events import Emit, Event
from tests.engine.graphs import Bench, at, graph, lines, small_graph, wanting


def _diamond() -> tuple[Resource, ...]:
    return graph(
        {
            "a/top": {"needs": ["b/left", "b/right"]},
            "b/left": {"needs": ["c/bottom"]},
            "b/right": {"needs": ["c/bottom"]},
            "c/bottom": {},
        }
    )


@pytest.mark.promise(7)
def test_steps_run_in_dependency_order_and_destroy_is_the_exact_reverse(bench: Bench) -> None:
    made = bench.reconciler().apply(wanting(_diamond())).plan
    order = [str(step.address) for step in made.steps]
    assert order == ["c/bottom", "b/left", "b/right", "a/top"]
    assert _respects(bench.world.effects, _diamond())
    gone = bench.reconciler().destroy().plan
    assert [str(step.address) for step in gone.steps] == order[::-1]
    assert _respects(bench.world.effects[:3:-1], _diamond())


def _respects(effects: list[str], resources: tuple[Resource, ...]) -> bool:
    place = {effect.split()[1]: index for index, effect in enumerate(effects)}
    return all(place[str(need)] < place[str(one.address)] for one in resources for need in one.depends_on)


class _Counting(FakeDriver):
    """Lets no step end before as many as can run at once do run, and remembers how many ever did."""

    def __init__(self, path: Path, together: int) -> None:
        super().__init__(path)
        self.meeting = threading.Barrier(together, timeout=20)
        self.running = 0
        self.most = 0
        self.counting = threading.Lock()

    def act(self, step: Step, *, secrets: SecretReader, emit: Emit) -> None:
        with self.counting:
            self.running += 1
            self.most = max(self.most, self.running)
        self.meeting.wait()
        super().act(step, secrets=secrets, emit=emit)
        with self.counting:
            self.running -= 1


@pytest.mark.promise(7)
def test_independent_steps_run_at_once_and_never_more_than_the_bound(bench: Bench) -> None:
    driver = _Counting(bench.folder / "other.jsonl", PARALLEL)
    many = graph({f"file/{number:02}": {} for number in range(PARALLEL * 3)})
    bench.reconciler(driver=driver).apply(wanting(many))
    assert driver.most == PARALLEL


@pytest.mark.promise(8)
def test_a_dependent_starts_only_when_what_it_needs_is_healthy_and_stable(bench: Bench) -> None:
    bench.faults.health["service/model"] = ["starting", "healthy", "starting", "healthy", "healthy"]
    model = Resource(at("service/model"), {}, probe=Probe(timeout_seconds=60, stable_seconds=0.01))
    bench.reconciler().apply(wanting((model, *graph({"service/agent": {"needs": ["service/model"]}}))))
    told = [(event.type, event.address, event.data.get("state")) for event in bench.events if event.type != "step-end"]
    model_at = "service/model"
    assert told[:6] == [
        ("step-begin", model_at, None),
        ("health", model_at, "starting"),
        ("health", model_at, "healthy"),
        ("health", model_at, "starting"),  # it flapped: stability is counted anew
        ("health", model_at, "healthy"),
        ("step-begin", "service/agent", None),
    ]


@pytest.mark.promise(8)
def test_a_terminal_state_fails_at_once_with_the_last_log_lines(bench: Bench) -> None:
    bench.faults.terminal["service/model"] = "exited with 1\nerror: no such file: model.gguf"
    begun = bench.clock.monotonic()
    with pytest.raises(PartlyApplied) as failure:
        bench.reconciler().apply(wanting(small_graph()))
    assert bench.clock.monotonic() == begun, "it waited"
    assert "create service/model failed: it can't become healthy: exited with 1" in failure.value.summary
    assert "error: no such file: model.gguf" in failure.value.summary
    assert "service/agent" not in bench.standing()


@pytest.mark.promise(8)
def test_what_never_becomes_healthy_fails_when_its_time_is_up(bench: Bench) -> None:
    bench.faults.health["service/model"] = ["starting"]
    with pytest.raises(PartlyApplied, match="not healthy and stable after 5 s \\(starting\\): the fake says starting"):
        bench.reconciler().apply(wanting(small_graph()))
    assert 5 <= bench.clock.monotonic() < 6


@pytest.mark.promise(8)
def test_what_flaps_for_ever_fails_when_its_time_is_up(bench: Bench) -> None:
    bench.faults.health["service/model"] = ["healthy", "starting"] * 500
    model = Resource(at("service/model"), {}, probe=Probe(timeout_seconds=5, stable_seconds=1))
    with pytest.raises(PartlyApplied, match="not healthy and stable after 5 s"):
        bench.reconciler().apply(wanting((model,)))


@pytest.mark.promise(10)
def test_a_failure_stops_new_steps_and_the_next_apply_goes_on_from_there(bench: Bench) -> None:
    bench.faults.fail["run:job/migrate"] = 1
    with pytest.raises(PartlyApplied) as failure:
        bench.reconciler().apply(wanting(small_graph()))
    assert failure.value.exit_code == 5
    assert failure.value.summary == (
        "run job/migrate failed: the fake was told to fail run:job/migrate. Tell it otherwise\n"
        "2 steps done, 1 failed (job/migrate), 1 not started"
    )
    told = bench.events[-1]
    assert told.type == "outcome"
    assert told.data["failed"] == ["run:job/migrate"]
    assert told.data["not_started"] == ["create:service/agent"]
    model = next(step.id for step in bench.reconciler().plan_destroy().steps if step.address == at("service/model"))
    assert {"create:volume/memory", model.replace("delete", "create")} == set(cast("list[str]", told.data["done"]))
    assert bench.reconciler().status().unfinished == (at("job/migrate"),)
    applied = bench.reconciler().apply(wanting(small_graph()))
    assert lines(applied.plan) == [
        "> job/migrate because it has not run yet",
        "+ service/agent because it does not exist",
    ]
    assert bench.reconciler().plan(wanting(small_graph())).empty
    assert bench.reconciler().status().ready


@pytest.mark.promise(10)
def test_running_steps_end_when_another_fails(bench: Bench) -> None:
    failed = threading.Event()

    def hold(point: Point, about: str) -> None:
        if about == "create:file/slow" and point == "after-begin":
            assert failed.wait(20)

    def listen(event: Event) -> None:
        if event.type == "step-end" and event.address == "file/bad":
            failed.set()

    bench.faults.fail["create:file/bad"] = -1
    wanted = graph({"file/bad": {}, "file/slow": {}, "file/then": {"needs": ["file/slow"]}})
    with pytest.raises(PartlyApplied, match="1 step done, 1 failed \\(file/bad\\), 1 not started"):
        bench.reconciler(on_point=hold, emit=listen).apply(wanting(wanted))
    assert set(bench.standing()) == {"file/slow"}


def test_a_bug_in_a_driver_ends_like_any_failure(bench: Bench) -> None:
    class Broken(FakeDriver):
        def probe(self, resource: Resource) -> Health:
            raise KeyError(str(resource.address))

    driver = Broken(bench.folder / "world.jsonl", bench.faults)
    with pytest.raises(PartlyApplied, match="KeyError: 'service/model'"):
        bench.reconciler(driver=driver).apply(wanting(small_graph()))


@pytest.mark.promise(11)
def test_a_replacement_keeps_the_old_one_serving_until_the_new_one_is_healthy(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    bench.faults.terminal["service/model"] = "crashed"
    with pytest.raises(PartlyApplied):
        bench.reconciler().apply(wanting(small_graph(model={"image": "b"})))
    standing = [thing.spec["image"] for thing in bench.world.things.values() if thing.address == "service/model"]
    assert sorted(standing) == ["a", "b"]
    bench.faults.terminal.clear()
    bench.reconciler().apply(wanting(small_graph(model={"image": "b"})))
    assert bench.standing()["service/model"] == ({"image": "b"}, True)
    assert bench.reconciler().plan(wanting(small_graph(model={"image": "b"}))).empty


@pytest.mark.promise(11)
def test_a_replacement_in_one_step_says_downtime_beforehand(bench: Bench) -> None:
    def gateway(port: int) -> tuple[Resource, ...]:
        return graph({"service/gateway": {"replace_on": ["port"], "spec": {"port": port}}})

    bench.reconciler().apply(wanting(gateway(1)))
    plan = bench.reconciler().plan(wanting(gateway(2)))
    assert [step.downtime for step in plan.steps] == [True]


@pytest.mark.promise(10)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_running_steps_end_and_begins_no_other(bench: Bench, number: signal.Signals) -> None:
    def interrupt(point: Point, about: str) -> None:
        if (point, about) == ("after-begin", "create:volume/memory"):
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as interrupted:
        bench.reconciler(on_point=interrupt).apply(wanting(small_graph()))
    assert interrupted.value.signal == number
    assert signal.getsignal(number) is before
    assert set(bench.standing()) == {"volume/memory", "service/model"}
    bench.reconciler().apply(wanting(small_graph()))
    assert bench.reconciler().plan(wanting(small_graph())).empty
    assert len(bench.world.effects) == len(set(bench.world.effects)) == 4


@pytest.mark.promise(10)
def test_a_second_signal_waits_for_nothing(bench: Bench) -> None:
    for_ever = threading.Event()

    def stuck(point: Point, about: str) -> None:
        if (point, about) == ("after-begin", "create:volume/memory"):
            os.kill(os.getpid(), signal.SIGINT)
            while not any("second signal" in text for text in bench.warnings()):
                time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGINT)
            for_ever.wait(60)

    with pytest.raises(Interrupted, match="1 failed \\(volume/memory\\)"):
        bench.reconciler(on_point=stuck).apply(wanting(small_graph()))
    assert not for_ever.is_set()
    for_ever.set()


def test_the_same_signal_while_something_waits_for_health_is_heard_twice(bench: Bench) -> None:
    bench.faults.health["service/model"] = ["starting"]
    forever = Resource(at("service/model"), {}, probe=Probe(timeout_seconds=1e12, stable_seconds=0))
    sent: list[int] = []

    def interrupt(event: Event) -> None:
        if event.type == "health" or (event.type == "warning" and len(sent) < 2):
            sent.append(1)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as interrupted:
        bench.reconciler(emit=interrupt, clock=SystemClock()).apply(wanting((forever,)))
    assert interrupted.value.signal == signal.SIGTERM


@pytest.mark.promise(10, 15)
def test_a_full_disk_before_anything_began_says_that_nothing_changed(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    effects, changed = bench.world.effects, wanting(small_graph(agent={"port": 2}))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_up(point: Point, about: str) -> None:
        if point == "before-begin":
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))

    try:
        with pytest.raises(
            PaictlError, match=r"can't write the journal .*: File too large\nnothing was changed"
        ) as full:
            bench.reconciler(on_point=fill_up).apply(changed)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert full.value.exit_code == 1
    assert bench.world.effects == effects
    assert replay(bench.state / "journal.jsonl").entries == ()
    bench.reconciler().apply(changed)
    assert bench.reconciler().plan(changed).empty
