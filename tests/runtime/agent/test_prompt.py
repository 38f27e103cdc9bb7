"""What the model is given to read fits its context, with what matters most."""

from __future__ import annotations

from paictl.runtime.agent.door import Message
from paictl.runtime.agent.prompt import Budget, conversation, instructions, tokens


def test_of_many_skills_those_that_the_question_is_about_come_first_as_far_as_they_fit() -> None:
    skills = {f"topic{number}": f"About topic{number}. " + "x" * 500 for number in range(9)}
    system = instructions("You are Atlas.", skills, [], "Tell me of topic7, please", Budget(2048))
    assert system.index("## Skill: topic7") < system.index("## Skill: topic0")
    assert "topic8" not in system
    assert tokens(system) < 2048 // 2


def test_memories_stop_at_their_budget_and_are_said_once() -> None:
    system = instructions("Hi.", {}, ["I live in Lisbon.", "I live in\nLisbon.", "y" * 9000, "late"], "?", Budget(2048))
    assert system.count("I live in Lisbon.") == 1
    assert "late" not in system


def test_without_memories_nothing_is_said_of_facts() -> None:
    assert instructions("Hi.", {}, [], "?", Budget(2048)) == "Hi."


def test_a_question_too_long_for_the_context_keeps_its_two_ends() -> None:
    past = [Message(role="user", content="before"), Message(role="assistant", content="yes")]
    history, asked = conversation([*past, Message(role="user", content="BEGIN" + "x" * 9000 + "END")], 200)
    assert history == []
    assert asked.startswith("BEGIN")
    assert asked.endswith("END")
    assert tokens(asked) <= 202


def test_nothing_said_by_a_person_is_no_question() -> None:
    assert conversation([Message(role="system", content="x"), Message(role="assistant", content="y")], 100) == ([], "")
