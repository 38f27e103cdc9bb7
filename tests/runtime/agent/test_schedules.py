"""When the agent acts by itself: on time, once, and after a pause only the latest missed run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from paictl.clock import ManualClock
from paictl.runtime.agent.schedules import FileKept, Schedules
from paictl.runtime.config import ScheduledWorkflow
from tests.runtime.agent.conftest import Room
from tests.runtime.agent.gateway import until

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0


def schedules(path: Path, clock: ManualClock, cron: str = "0 * * * *", timezone: str = "UTC") -> Schedules:
    return Schedules(
        {"brief": ScheduledWorkflow(prompt="p", schedule=cron, timezone=timezone)}, FileKept(path / "s.json"), clock
    )


def test_nothing_before_the_agent_first_saw_a_schedule_is_due(tmp_path: Path) -> None:
    clock = ManualClock(NOON + 60)
    served = schedules(tmp_path, clock)
    assert served.due() == []
    assert served.seconds_to_next() == 30.0
    clock.sleep(HOUR - 61)
    assert served.due() == []
    assert served.seconds_to_next() == pytest.approx(1.0)
    clock.sleep(1)
    [due] = served.due()
    assert due.run == "run-brief-2026-03-28T13:00:00Z"
    served.started(due)
    assert served.due() == []


def test_after_a_pause_only_the_latest_missed_run_is_made_up_for(tmp_path: Path) -> None:
    clock = ManualClock(NOON + 60)
    schedules(tmp_path, clock)
    clock.sleep(5 * HOUR)
    later = schedules(tmp_path, clock)
    [due] = later.due()
    assert due.run == "run-brief-2026-03-28T17:00:00Z"
    later.started(due)
    assert schedules(tmp_path, clock).due() == []


def test_a_crash_before_the_start_was_written_down_gives_the_run_the_same_name(tmp_path: Path) -> None:
    clock = ManualClock(NOON + 60)
    first = schedules(tmp_path, clock)
    clock.sleep(HOUR)
    assert first.due() == schedules(tmp_path, clock).due() != []


def test_a_changed_schedule_counts_from_the_change(tmp_path: Path) -> None:
    clock = ManualClock(NOON + 60)
    schedules(tmp_path, clock)
    clock.sleep(5 * HOUR)
    assert schedules(tmp_path, clock, "30 * * * *").due() == []


def test_the_time_zone_decides_also_across_a_clock_change(tmp_path: Path) -> None:
    # Lisbon goes to summer time on 29 March 2026: 22:00 there is 22:00 UTC before, 21:00 UTC after.
    clock = ManualClock(NOON)
    served = schedules(tmp_path, clock, "0 22 * * *", "Europe/Lisbon")
    clock.sleep(11 * HOUR)
    [first] = served.due()
    served.started(first)
    clock.sleep(24 * HOUR)
    [second] = served.due()
    assert (first.run, second.run) == ("run-brief-2026-03-28T22:00:00Z", "run-brief-2026-03-29T21:00:00Z")


def test_an_unreadable_file_of_the_served_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{")
    assert schedules(tmp_path, ManualClock(NOON)).due() == []


def test_a_schedule_fires_in_the_running_agent_and_reports(room: Room) -> None:
    # Six fields: the last one counts seconds.
    room.start(workflows={"brief": {"prompt": "Sum up.", "schedule": "* * * * * */2"}})
    assert room.gateway.hellos[0]["schedules"] == {"brief": "* * * * * */2"}
    until(lambda: len([what for _, what in room.gateway.effects if what.endswith("ended")]) >= 2, "it ran twice")
    assert room.stop() == 0
    begun = [what.removesuffix(" begun") for _, what in room.gateway.effects if what.endswith("begun")]
    assert len(begun) == len(set(begun))
    assert room.gateway.bodies("/agent/runs")[1]["detail"] == "Hello there."


def test_a_crash_in_the_middle_of_a_scheduled_run_leaves_one_run(room: Room) -> None:
    room.gateway.before = lambda path: 30.0 if path == "/v1/chat/completions" else 0.0
    # Due once within this test, whenever it runs: at the next full second, then not for a year.
    moment = datetime.fromtimestamp(int(datetime.now(UTC).timestamp()) + 6, UTC)
    cron = f"{moment.minute} {moment.hour} {moment.day} {moment.month} * {moment.second}"
    room.start(workflows={"brief": {"prompt": "Sum up.", "schedule": cron}})
    until(lambda: room.gateway.count("/v1/chat/completions") == 1, "the run is in its model step", 30)
    room.kill()
    room.gateway.before = lambda path: 0.0
    room.start()
    until(lambda: any(what.endswith("ended") for _, what in room.gateway.effects), "the run ends", 30)
    run = f"run-brief-{moment:%Y-%m-%dT%H:%M:%SZ}"
    assert room.gateway.effects == [("run", f"{run} begun"), ("run", f"{run} ended")]
    assert room.gateway.count("/v1/chat/completions") == 2


def test_a_run_that_takes_too_long_is_given_up_and_said_so(room: Room) -> None:
    room.gateway.before = lambda path: 20.0 if path == "/v1/chat/completions" else 0.0
    room.start(workflows={"brief": {"prompt": "Sum up.", "timeout_seconds": 1}})
    room.gateway.offer(id="w1", kind="workflow", name="brief")
    until(lambda: any(body["state"] == "failed" for body in room.gateway.bodies("/agent/runs")), "the run failed")
    assert room.gateway.bodies("/agent/runs")[-1]["detail"] == "it took longer than its timeout"


def test_a_failing_model_is_tried_again_as_often_as_the_workflow_says(room: Room) -> None:
    def say(body: dict[str, object]) -> list[str]:
        if room.gateway.count("/v1/chat/completions") < 3:
            raise RuntimeError
        return ["Done."]

    room.gateway.say = say
    room.start(workflows={"brief": {"prompt": "Sum up.", "retries": 2}})
    room.gateway.offer(id="w1", kind="workflow", name="brief")
    until(lambda: ("run", "run-brief-w1 ended") in room.gateway.effects, "the third attempt succeeds", 30)
    assert room.gateway.count("/v1/chat/completions") == 3
