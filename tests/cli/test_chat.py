"""Talking to the agent: streamed, in one breath or a whole conversation; Ctrl-C ends an answer, not the terminal."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import World
from tests.cli.gateways import Gateway, gateway
from tests.cli.terminals import on_terminal


def at(world: World, door: Gateway) -> World:
    world.edit("  models:", f"  gateway: {{port: {door.port}}}\n  models:")
    return world


def test_an_answer_is_printed_and_the_token_of_the_target_is_shown(world: World) -> None:
    with gateway("Hel", "lo.") as door:
        done = at(world, door).run("chat", "How", "are", "you?")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Hello.\n"
    (asked,) = door.asked
    assert asked == {
        "path": "/v1/chat/completions",
        "token": "Bearer fake-token",
        "session": None,
        "text": "How are you?",
        "before": [],
        "stream": True,
    }


def test_an_answer_comes_as_it_is_thought(world: World) -> None:
    with gateway("first ", "second", hold_after=1) as door:
        process = at(world, door).start("chat", "hello")
        assert process.stdout is not None
        assert process.stdout.read(6) == "first "
        door.go_on.set()
        out, _ = process.communicate(timeout=30)
        assert out == "second\n"


def test_a_message_can_be_piped_in_and_the_answer_is_a_document(world: World) -> None:
    with gateway("Yes.") as door:
        done = at(world, door).run("chat", "--session", "tea", "-o", "json", stdin="Is it so?\n")
    assert json.loads(done.stdout) == {"format": "1", "answer": "Yes.", "session": "tea"}
    assert door.asked[0]["text"] == "Is it so?"
    assert door.asked[0]["session"] == "tea"
    assert door.ended == []


@pytest.mark.parametrize("name", [None, "tea"])
def test_a_conversation_is_one_session_and_forgotten_unless_it_has_a_name(world: World, name: str | None) -> None:
    with gateway("Hello, Ines.") as door:
        flags = ["--session", name] if name else []
        with on_terminal(at(world, door), "chat", *flags) as terminal:
            terminal.see("> ")
            terminal.type("I am Ines\n")
            terminal.see("Hello, Ines.")
            terminal.see("> ")
            terminal.type("Again\n")
            terminal.see("Hello, Ines.")
            terminal.see("> ")
            terminal.type("\x04")
            assert terminal.end() == 0
    sessions = {asked["session"] for asked in door.asked}
    assert len(sessions) == 1
    first, second = door.asked
    assert first["before"] == []
    assert second["before"] == [("user", "I am Ines"), ("assistant", "Hello, Ines.")]
    assert door.ended == ([] if name else [f"/v1/sessions/{sessions.pop()}"])


def test_ctrl_c_ends_the_answer_and_not_the_conversation(world: World) -> None:
    with (
        gateway("It began ", "and never ended", hold_after=1) as door,
        on_terminal(at(world, door), "chat") as terminal,
    ):
        terminal.see("> ")
        terminal.type("Tell me everything\n")
        terminal.see("It began ")
        terminal.type("\x03")
        terminal.see("(stopped)")
        terminal.see("> ")
        door.go_on.set()
        terminal.type("Briefly\n")
        terminal.see("and never ended")
        terminal.see("> ")
        terminal.type("\x04")
        assert terminal.end() == 0
    assert "Traceback" not in terminal.text


def test_open_prints_the_address_and_the_token_only_when_asked(world: World) -> None:
    with gateway() as door:
        at(world, door)
        plain = world.run("open")
        assert f"http://127.0.0.1:{door.port}/v1" in plain.stdout
        assert "fake-token" not in plain.stdout
        assert world.run("open", "--token").stdout == "fake-token\n"
