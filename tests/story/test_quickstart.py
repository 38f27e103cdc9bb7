"""The issue's own story, told with the real executable, real rooms and the real model. The tests build on one another."""

from __future__ import annotations

import socket

import httpx
import pytest

from tests.ports import free_port
from tests.story.home import Home, kill
from tests.waiting import until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("story")]


def test_one_command_makes_the_agent_stand_and_it_answers(home: Home) -> None:
    told = home.run("apply", "--yes")
    assert f"http://127.0.0.1:{home.port}" in told.stdout
    assert home.chat("Tell me in one sentence what you can do.").strip()
    assert home.json("status")["ready"]


@pytest.mark.promise(1, 2)
def test_the_second_plan_is_empty_and_writes_nothing(home: Home) -> None:
    before = {path: path.stat().st_mtime_ns for path in (home.folder / "state").rglob("*") if path.is_file()}
    first, second = home.run("plan", "-o", "json", "--detailed-exitcode"), home.run("plan", "-o", "json")
    assert first.stdout == second.stdout
    assert home.json("plan")["steps"] == []
    after = {path: path.stat().st_mtime_ns for path in (home.folder / "state").rglob("*") if path.is_file()}
    assert before == after
    pids = {name: process.pid for name, process in home.services().items()}
    home.run("apply", "--yes")
    assert {name: process.pid for name, process in home.services().items()} == pids


def test_the_agent_is_an_openai_model_to_every_client(home: Home) -> None:
    token = (next((home.folder / "run" / "paictl").glob("*/secrets/gateway-token"))).read_text(encoding="ascii").strip()
    with httpx.Client(
        base_url=f"http://127.0.0.1:{home.port}", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    ) as client:
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["atlas"]
        asked = {"model": "atlas", "messages": [{"role": "user", "content": "Say hello."}]}
        answer = client.post("/v1/chat/completions", json=asked, timeout=120).json()
        assert answer["choices"][0]["message"]["content"].strip()


@pytest.mark.parametrize("service", ["model-chat", "model-embed", "gateway", "agent"])
def test_a_service_that_is_killed_comes_back(home: Home, service: str) -> None:
    killed = home.services()[service]
    kill(killed)
    # One look decides: between two the process of the first may be gone again.
    until(lambda: home.services().get(service, killed).pid != killed.pid, f"{service} runs again", 60)
    until(lambda: bool(home.json("status")["ready"]), "everything is ready", 60)


def test_what_was_told_once_is_known_after_a_restart_of_everything_and_what_was_for_one_conversation_is_not(
    home: Home,
) -> None:
    home.chat("My sister's name is Ines.")
    home.chat("For this conversation only: the code word is Zebra.")
    for process in home.services().values():
        kill(process)
    until(lambda: bool(home.json("status")["ready"]), "everything is ready", 60)
    assert "ines" in home.chat("What is my sister's name?").lower()
    home.switch_off()
    assert home.everything() == []
    home.run("apply", "--yes")
    assert "ines" in home.chat("What is my sister's name?").lower()
    assert "zebra" not in home.chat("What is the code word?").lower()


@pytest.mark.promise(24)
def test_verify_holds_in_every_room_and_outside_the_door(home: Home) -> None:
    checks = home.json("verify")
    assert checks["passed"], [check for check in checks["checks"] if not check["passed"]]
    assert {check["where"] for check in checks["checks"]} == {"outside", "agent", "model-chat", "model-embed"}


def test_the_agent_is_reached_where_it_was_applied_and_not_where_the_manifest_says_meanwhile(home: Home) -> None:
    other = free_port()
    home.edit(f"port: {home.port}", f"port: {other}")
    assert home.json("plan")["steps"] != []
    assert home.chat("Hello").strip()
    assert home.json("open")["url"] == f"http://127.0.0.1:{home.port}"
    assert home.run("exec", "agent", "--", "python", "-c", "print('in the room')").stdout == "in the room\n"
    home.run("apply", "--yes")
    assert home.json("open")["url"] == f"http://127.0.0.1:{other}"
    assert home.chat("Hello").strip()
    home.edit(f"port: {other}", f"port: {home.port}")
    home.run("apply", "--yes")


def test_a_plan_says_that_its_port_is_taken(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        home.edit(f"port: {home.port}", f"port: {port}")
        done = home.run("plan")
        home.edit(f"port: {port}", f"port: {home.port}")
    assert f"warning: apply would be refused: port {port} on 127.0.0.1 is taken by" in done.stderr


def test_a_changed_line_changes_only_what_follows_from_it(home: Home) -> None:
    pids = {name: process.pid for name, process in home.services().items()}
    home.edit("instructions: {file: prompts/atlas.md}", "instructions: You are Atlas. Answer in one short sentence.")
    steps = home.json("plan")["steps"]
    assert sorted(step["address"] for step in steps) == ["file/config/agent/agent.json", "service/agent"]
    home.run("apply", "--yes")
    changed = {name for name, process in home.services().items() if process.pid != pids[name]}
    assert changed == {"agent"}
    assert "ines" in home.chat("What is my sister's name?").lower()


@pytest.mark.promise(17)
def test_rollback_is_an_ordinary_plan_to_the_release_before(home: Home) -> None:
    home.run("rollback", "--yes")
    steps = home.json("plan")["steps"]
    assert sorted(step["address"] for step in steps) == ["file/config/agent/agent.json", "service/agent"]
    home.run("apply", "--yes")


@pytest.mark.promise(19)
def test_a_change_that_would_lose_a_fact_is_undone(home: Home) -> None:
    home.edit("continuity:", 'continuity:\n    facts: [{ask: "What is my sister\'s name?", expect: Ines}]')
    home.run("apply", "--yes")
    release = home.json("status")["release"]
    # Without the space that it was told in, the agent can't know it any more.
    home.edit("long-term: {class: private, retain: forever}", "other: {class: private, retain: forever}")
    told = home.run("apply", "--yes", code=5)
    assert "Ines" in told.stderr
    assert home.json("status")["ready"]
    assert home.json("status")["release"] >= release
    assert "ines" in home.chat("What is my sister's name?").lower()
    home.edit("other: {class: private, retain: forever}", "long-term: {class: private, retain: forever}")
    assert home.json("plan")["steps"] == []


@pytest.mark.promise(12)
def test_destroy_leaves_no_process_and_no_secret_and_keeps_what_the_agent_knows(home: Home) -> None:
    home.run("destroy", "--yes")
    assert home.everything() == []
    assert not list((home.folder / "run").rglob("*token*"))
    home.run("apply", "--yes")
    assert "ines" in home.chat("What is my sister's name?").lower()
