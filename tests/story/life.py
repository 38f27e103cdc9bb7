"""The life of one agent, from its first apply until nothing is left: the chapters that are the same on every driver.

A module of tests makes classes of ``Life`` and of ``End``, says in a ``home`` fixture where the agent lives, and adds between them
what only its driver has. The chapters build on one another.
"""

from __future__ import annotations

from typing import ClassVar

import httpx
import pytest

from tests.story.home import Home

__all__ = ["End", "Life", "knows_the_sister"]


class Life:
    """``rooms`` are the services that verify tries; ``following`` what has to change with the agent's ``instructions``."""

    rooms: ClassVar[set[str]] = {"agent", "model-chat", "model-embed"}
    following: ClassVar[list[str]] = ["service/agent"]
    instructions: ClassVar[str] = "prompts/atlas.md"

    def test_one_command_makes_the_agent_stand_and_it_answers(self, home: Home) -> None:
        told = home.run("apply", "--yes")
        assert home.welcome in told.stdout
        assert home.chat("Tell me in one sentence what you can do.").strip()
        assert home.json("status")["ready"]

    @pytest.mark.promise(1, 2)
    def test_the_second_plan_is_empty_and_writes_nothing(self, home: Home) -> None:
        before = {path: path.stat().st_mtime_ns for path in (home.folder / "state").rglob("*") if path.is_file()}
        first, second = home.run("plan", "-o", "json", "--detailed-exitcode"), home.run("plan", "-o", "json")
        assert first.stdout == second.stdout
        assert home.json("plan")["steps"] == []
        after = {path: path.stat().st_mtime_ns for path in (home.folder / "state").rglob("*") if path.is_file()}
        assert before == after
        running = home.running()
        home.run("apply", "--yes")
        assert home.running() == running

    def test_the_agent_is_an_openai_model_to_every_client(self, home: Home) -> None:
        key = home.run("open", "--token").stdout.strip()
        headers = {"Authorization": f"Bearer {key}"}
        with home.gateway() as url, httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
            assert [model["id"] for model in client.get("/v1/models").json()["data"]] == [home.agent]
            asked = {"model": home.agent, "messages": [{"role": "user", "content": "Say hello."}]}
            answer = client.post("/v1/chat/completions", json=asked, timeout=120).json()
            assert answer["choices"][0]["message"]["content"].strip()

    def test_what_was_told_once_is_known_when_everything_was_switched_off_and_what_was_for_one_conversation_is_not(
        self, home: Home
    ) -> None:
        home.chat("My sister's name is Ines.")
        home.chat("For this conversation only: the code word is Zebra.")
        assert knows_the_sister(home)
        home.switch_off()
        assert home.running() == {}
        home.run("apply", "--yes")
        assert knows_the_sister(home)
        assert "zebra" not in home.chat("What is the code word?").lower()

    @pytest.mark.promise(24)
    def test_verify_holds_in_every_room_and_outside_the_door(self, home: Home) -> None:
        checks = home.json("verify")
        assert checks["passed"], [check for check in checks["checks"] if not check["passed"]]
        assert {check["where"] for check in checks["checks"]} == {"outside", *self.rooms}

    def test_a_changed_line_changes_only_what_follows_from_it(self, home: Home) -> None:
        before = home.running()
        home.edit(f"instructions: {{file: {self.instructions}}}", "instructions: Answer in one short sentence.")
        home.run("plan", "--detailed-exitcode", code=3)
        assert home.steps() == self.following
        home.run("apply", "--yes")
        after = home.running()
        assert {name for name in after if after[name] != before[name]} == {"agent"}
        assert knows_the_sister(home)

    @pytest.mark.promise(17)
    def test_rollback_is_an_ordinary_plan_to_the_release_before(self, home: Home) -> None:
        release = home.json("status")["release"]
        home.run("rollback", "--yes")
        assert home.json("status")["release"] == release + 1
        assert knows_the_sister(home)
        # The manifest still says otherwise.
        assert home.steps() == self.following
        home.run("apply", "--yes")


class End:
    """What becomes of an agent that knows the sister."""

    @pytest.mark.promise(12)
    def test_destroy_keeps_what_the_agent_knows_and_nothing_that_runs(self, home: Home) -> None:
        home.run("destroy", "--yes")
        assert home.running() == {}
        assert home.kept()
        home.run("apply", "--yes")
        assert knows_the_sister(home)

    @pytest.mark.promise(12)
    def test_destroy_with_its_data_leaves_nothing(self, home: Home) -> None:
        home.run("destroy", "--yes")
        home.run("destroy", "--yes", *(word for address in home.kept() for word in ("--delete-data", address)))
        assert home.left() == []


def knows_the_sister(home: Home) -> bool:
    """Whether a new conversation finds what an earlier one was told."""
    return "ines" in home.chat("What is my sister's name?").lower()
