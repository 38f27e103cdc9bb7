"""What the model is given to read: who it is, what it knows of its owner, its skills, and as much of the talk as fits.

Called by ``turns``; pure. Lengths are estimated in tokens at three characters each, which is high for English and about
right for languages that tokenize worse: a prompt that is too long is refused by the server, one that is short only loses
a little of the past.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart

from paictl.runtime.agent.door import Message

__all__ = ["Budget", "conversation", "instructions", "tokens"]

_MESSAGE_OVERHEAD = 8
_CUT = " […] "


def tokens(text: str) -> int:
    """About how many tokens a text takes, rather too many than too few."""
    return len(text) // 3 + 1


class Budget:
    """How a context window is shared out, in tokens: a quarter each for the answer, for memories and for skills at most."""

    def __init__(self, context: int) -> None:
        self.context = context
        self.answer = min(1024, context // 4)
        self.memories = context // 4
        self.skills = context // 4
        # A small context means a small model, and those lose the thread among many facts.
        self.recalled = max(4, min(12, context // 512))

    def history(self, system: str) -> int:
        """What is left for the conversation beside the instructions and the answer."""
        return max(64, self.context - self.answer - tokens(system) - 2 * _MESSAGE_OVERHEAD)


def instructions(
    own: str, skills: Mapping[str, str], memories: Sequence[str], question: str, budget: Budget, client: str = ""
) -> str:
    """The system message. What was remembered stands last, next to the conversation, where small models look."""
    parts = [
        own.strip(),
        client.strip(),
        _skills(skills, question, budget.skills),
        _memories(memories, budget.memories),
    ]
    return "\n\n".join(part for part in parts if part)


def _memories(memories: Sequence[str], budget: int) -> str:
    """Facts in the owner's words; how the wording was tried and chosen stands in docs/decisions/agent-loop.md."""
    lines: list[str] = []
    for text in memories:
        line = f"- {' '.join(text.split())}"
        budget -= tokens(line)
        if budget < 0:
            break
        if line not in lines:
            lines.append(line)
    if not lines:
        return ""
    return "Facts about the user, in the user's own words:\n" + "\n".join(lines) + "\n\nUse these facts to answer."


def _skills(skills: Mapping[str, str], question: str, budget: int) -> str:
    """The skills that fit, those that share the most words with the question first."""
    asked = _words(question)
    ranked = sorted(skills.items(), key=lambda item: (-len(asked & _words(f"{item[0]} {item[1]}")), item[0]))
    chosen: list[str] = []
    for name, text in ranked:
        part = f"## Skill: {name}\n{text.strip()}"
        if tokens(part) <= budget:
            budget -= tokens(part)
            chosen.append(part)
    return "\n\n".join(chosen)


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word in re.findall(r"\w+", text.lower()) if len(word) > 3)


def conversation(messages: Sequence[Message], room: int) -> tuple[list[ModelMessage], str]:
    """The past as far as it fits, newest first to be kept, and the last thing the person said, always kept.

    The last message is cut in its middle when even alone it is too long. A kept past begins with something the
    person said, since chat templates expect turns to alternate.
    """
    talk = [message for message in messages if message.role in ("user", "assistant") and message.content.strip()]
    while talk and talk[-1].role != "user":
        talk.pop()
    if not talk:
        return [], ""
    question = _fitted(talk.pop().content, room)
    room -= tokens(question) + _MESSAGE_OVERHEAD
    kept: list[Message] = []
    for message in reversed(talk):
        room -= tokens(message.content) + _MESSAGE_OVERHEAD
        if room < 0:
            break
        kept.insert(0, message)
    while kept and kept[0].role != "user":
        kept.pop(0)
    return [_part(message) for message in kept], question


def _fitted(text: str, room: int) -> str:
    if tokens(text) <= room:
        return text
    half = max(16, (room * 3 - len(_CUT)) // 2)
    return text[:half] + _CUT + text[-half:]


def _part(message: Message) -> ModelMessage:
    if message.role == "user":
        return ModelRequest(parts=[UserPromptPart(content=message.content)])
    return ModelResponse(parts=[TextPart(content=message.content)])
