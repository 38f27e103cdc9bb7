"""The issue's own story, told with the real executable, real rooms and the real model. The tests build on one another."""

from __future__ import annotations

import socket
from typing import ClassVar

import pytest

from tests.ports import free_port
from tests.story.home import Home, kill
from tests.story.life import End, Life, knows_the_sister
from tests.waiting import until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("story")]


class TestTheQuickstartOnThisMachine(Life):
    following: ClassVar[list[str]] = ["file/config/agent/agent.json", "service/agent"]


@pytest.mark.parametrize("service", ["model-chat", "model-embed", "gateway", "agent"])
def test_a_service_that_is_killed_comes_back(home: Home, service: str) -> None:
    killed = home.services()[service]
    kill(killed)
    # One look decides: between two the process of the first may be gone again.
    until(lambda: home.services().get(service, killed).pid != killed.pid, f"{service} runs again", 60)
    until(lambda: bool(home.json("status")["ready"]), "everything is ready", 60)


def test_what_was_told_is_known_when_every_service_was_killed(home: Home) -> None:
    for process in home.services().values():
        kill(process)
    until(lambda: bool(home.json("status")["ready"]), "everything is ready", 60)
    assert knows_the_sister(home)


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


@pytest.mark.promise(17, 19)
def test_a_rollback_takes_back_the_port_a_schedule_and_permissions(home: Home) -> None:
    other = free_port()
    changed = {f"port: {home.port}": f"port: {other}", 'schedule: "0 22 * * *"': 'schedule: "0 21 * * *"'}
    changed["  workflows:"] = "  permissions: {budget: {calls: 999/day}}\n  workflows:"
    for before, after in changed.items():
        home.edit(before, after)
    home.run("apply", "--yes")
    home.run("rollback", "--yes")
    assert home.json("open")["url"] == f"http://127.0.0.1:{home.port}"
    assert knows_the_sister(home)
    for before, after in changed.items():
        home.edit(after, before)
    assert home.steps() == []


def test_a_plan_says_that_its_port_is_taken(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        home.edit(f"port: {home.port}", f"port: {port}")
        done = home.run("plan")
        home.edit(f"port: {port}", f"port: {home.port}")
    assert f"warning: apply would be refused: port {port} on 127.0.0.1 is taken by" in done.stderr


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
    assert knows_the_sister(home)
    home.edit("other: {class: private, retain: forever}", "long-term: {class: private, retain: forever}")
    assert home.json("plan")["steps"] == []


def test_destroy_leaves_no_process_and_no_secret(home: Home) -> None:
    home.run("destroy", "--yes")
    assert home.everything() == []
    assert not list((home.folder / "run").rglob("*token*"))


class TestItsEndOnThisMachine(End):
    pass
