"""After kill -9 in the middle a turn ends, and only the step that was killed runs twice."""

from __future__ import annotations

import pytest

from tests.runtime.agent.conftest import Room
from tests.runtime.agent.gateway import until

MESSAGE = "My sister's name is Ines. I live in Lisbon."
STEPS = ["/memory/recall", "/memory/remember", "/v1/chat/completions", "reply"]


@pytest.mark.promise(14)
@pytest.mark.parametrize("step", ["/memory/recall", "/memory/remember", "/v1/chat/completions", "token"])
def test_only_the_killed_step_of_a_turn_runs_twice(room: Room, step: str) -> None:
    # The call is counted and had its effect where it has one; its answer never comes.
    room.gateway.before = lambda path: 30.0 if path == step else 0.0
    room.start()
    answer = room.gateway.chat(MESSAGE)
    path = "/v1/chat/completions" if step == "token" else step
    until(lambda: room.gateway.count(path) == 1, f"the agent is in {step}")
    if step == "token":
        until(lambda: bool(answer.deltas), "the answer has begun")
    room.kill()
    room.gateway.before = lambda path: 0.0
    room.start()
    assert answer.ended.wait(30)
    assert answer.text == "Hello there."
    assert room.gateway.effects == [("remember", "My sister's name is Ines."), ("remember", "I live in Lisbon.")]
    expected = {"/memory/recall": 1, "/memory/remember": 2, "/v1/chat/completions": 1}
    expected[path] += 1
    assert {name: room.gateway.count(name) for name in expected} == expected


@pytest.mark.promise(14)
@pytest.mark.parametrize("state", ["begun", "ended"])
def test_only_the_killed_step_of_a_workflows_run_runs_twice(room: Room, state: str) -> None:
    workflows = {"brief": {"prompt": "Sum up the day."}}
    room.start(workflows=workflows)
    blocked = {"calls": 0}

    def before(path: str) -> float:
        if path != "/agent/runs":
            return 0.0
        blocked["calls"] += 1
        return 30.0 if blocked["calls"] == (1 if state == "begun" else 2) else 0.0

    room.gateway.before = before
    room.gateway.offer(id="w9", kind="workflow", name="brief")
    until(lambda: bool([b for b in room.gateway.bodies("/agent/runs") if b["state"] == state]), f"it reports {state}")
    room.kill()
    room.gateway.before = lambda path: 0.0
    room.start()
    until(lambda: ("run", "run-brief-w9 ended") in room.gateway.effects, "the run ends", 30)
    assert room.gateway.effects == [("run", "run-brief-w9 begun"), ("run", "run-brief-w9 ended")]
    assert room.gateway.count("/v1/chat/completions") == 1
    assert room.gateway.count("/agent/runs") == 3
