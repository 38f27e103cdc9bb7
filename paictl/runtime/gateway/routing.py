"""Which model a call reaches, by data class and declared order; pure. Nothing here ever falls back to a less safe model.

Also what one conversation is: in whose name, and the highest class of data that it has seen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from paictl.manifest.models import ClassName
from paictl.runtime.config import ModelRoute

__all__ = ["CLASSES", "Choice", "Conversation", "Conversations", "choose", "higher"]

CLASSES: tuple[ClassName, ...] = ("public", "internal", "private")
"""From the least confidential to the most."""

_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Choice:
    """The model, whether it may see the data, and the rule that says so."""

    name: str
    allowed: bool
    rule: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session as the door knows it."""

    principal: str
    label: ClassName = "private"


class Conversations:
    """The conversations of this process. One it does not know (a schedule's, or from before a restart) is private."""

    def __init__(self, owner: str) -> None:
        self._unknown = Conversation(owner)
        self._known: OrderedDict[str, Conversation] = OrderedDict()

    async def of(self, session: str) -> Conversation:
        return self._known.get(session, self._unknown)

    async def enter(self, session: str, principal: str, label: ClassName | None) -> Conversation:
        """A person speaks: a class sticks and only ever rises; what came in under the higher one is still in there."""
        known = self._known.get(session)
        wanted = label or (known.label if known else "private")
        entered = Conversation(principal, higher(known.label, wanted) if known else wanted)
        self._known[session] = entered
        self._known.move_to_end(session)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return entered

    async def saw(self, session: str, label: ClassName) -> None:
        """Data of that class came into the conversation."""
        known = self._known.get(session)
        if known is not None:
            self._known[session] = replace(known, label=higher(known.label, label))

    async def forget(self, session: str) -> None:
        self._known.pop(session, None)


def higher(one: ClassName, other: ClassName) -> ClassName:
    """The more confidential of two classes."""
    return max(one, other, key=CLASSES.index)


def choose(
    models: Mapping[str, ModelRoute], routing: Mapping[str, Sequence[str]], wanted: str, label: ClassName
) -> Choice | None:
    """The model for a request that names ``wanted`` (a model, or a task to be routed); None when nothing is called that."""
    # The task comes first: a model may well be called ``chat``, and then routing says when it is meant.
    if wanted != "chat":
        route = models.get(wanted)
        return _judge(wanted, route, label) if route is not None and route.task == "chat" else None
    names = routing.get("chat") or [name for name, route in models.items() if route.task == "chat"]
    judged = [_judge(name, models[name], label) for name in names if name in models]
    usable = [choice for choice in judged if choice.allowed]
    return next(iter(usable or judged), None)


def _judge(name: str, route: ModelRoute, label: ClassName) -> Choice:
    if route.local:
        return Choice(name, True, f"spec.models.{name} runs on this target")
    classes = route.classes or ["public"]
    if label in classes:
        return Choice(name, True, f"spec.models.{name}.classes: {label}")
    return Choice(name, False, f"spec.models.{name}.classes does not list {label}, the class of this conversation")
