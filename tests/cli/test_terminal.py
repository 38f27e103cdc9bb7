"""What a person at a terminal sees: colours or none, a picture that moves, questions; and terminals that can do little."""

from __future__ import annotations

import pytest

from tests.cli.conftest import World
from tests.cli.terminals import on_terminal

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
CHANGE = ("Be brief.", "Be kind.")


@pytest.mark.parametrize("args", [("plan", "--help"), ("plan",), ("doctor",), ("status",)], ids=" ".join)
def test_a_terminal_without_utf_8_gets_ascii(world: World, args: tuple[str, ...]) -> None:
    assert world.run("apply", "-y").returncode == 0
    world.edit(*CHANGE)
    done = world.run(*args, **ASCII)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "?" not in done.stdout


def test_symbols_degrade_to_words(world: World) -> None:
    assert world.run("apply", "-y").returncode == 0
    world.edit(*CHANGE)
    assert "Be brief. → Be kind." in world.run("plan").stdout
    assert "Be brief. -> Be kind." in world.run("plan", **ASCII).stdout


def test_json_is_ascii_where_nothing_else_can_be_shown(world: World) -> None:
    world.edit("Be brief.", "Sé breve… ✓")
    assert world.run("apply", "-y", **ASCII).returncode == 0
    assert "Sé breve" in world.run("config", "-o", "json").stdout
    assert "\\u00e9" in world.run("config", "-o", "json", **ASCII).stdout


@pytest.mark.parametrize("columns", [40, 80])
def test_a_person_is_asked_and_sees_it_happen(world: World, columns: int) -> None:
    with on_terminal(world, "apply", columns=columns) as terminal:
        terminal.see("Apply this to here? [y/N]")
        terminal.type("y\n")
        terminal.see("release 1 stands")
        assert terminal.end() == 0
    assert "✓ service/agent  created" in terminal.text
    plan = terminal.text.partition("Apply this")[0]
    assert max(map(len, plan.splitlines())) <= columns


def test_a_no_changes_nothing(world: World) -> None:
    with on_terminal(world, "apply") as terminal:
        terminal.see("[y/N]")
        terminal.type("n\n")
        assert terminal.end() == 4
    assert "nothing was changed" in terminal.text
    assert world.document("status")["release"] == 0


def test_ctrl_c_at_the_question_changes_nothing(world: World) -> None:
    with on_terminal(world, "apply") as terminal:
        terminal.see("[y/N]")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert "Traceback" not in terminal.text
    assert world.document("status")["release"] == 0


def test_colours_are_for_terminals_whose_person_did_not_say_no(world: World) -> None:
    with on_terminal(world, "plan") as terminal:
        assert terminal.end() == 0
    assert "\x1b[32mcreate" in terminal.shown
    for no in ({"NO_COLOR": "1"}, {"PAICTL_NO_COLOR": "1"}):
        with on_terminal(world, "plan", env=no) as terminal:
            assert terminal.end() == 0
        assert "\x1b[32m" not in terminal.shown
    with on_terminal(world, "plan", "--no-color") as terminal:
        assert terminal.end() == 0
    assert "\x1b[32m" not in terminal.shown


def test_init_asks_on_a_terminal_only(world: World) -> None:
    world.manifest.unlink()
    with on_terminal(world, "init") as terminal:
        terminal.see("The agent's name [project]: ")
        terminal.type("nova\n")
        terminal.see("Your name [")
        terminal.type("alice\n")
        assert terminal.end() == 0
    assert "metadata: {name: nova, owner: alice}" in world.manifest.read_text()


def test_a_failing_step_is_told_in_the_picture(world: World) -> None:
    world.fault(terminal={"service/agent": "it crashed\nlast words"})
    with on_terminal(world, "apply", "-y") as terminal:
        assert terminal.end() == 5
    assert "! service/agent  failed" in terminal.text
    assert "last words" in terminal.text
    assert "paictl status" in terminal.text
