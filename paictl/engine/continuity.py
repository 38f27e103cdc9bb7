"""What must still be true of the agent after a change, or the change is undone.

Used around an apply: ``remember`` looks before anything changes, ``check`` is the gate that runs when everything is healthy
again. What did not hold before can't be lost by the change; it is told as a warning, never a reason to undo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from paictl.clock import Clock, SystemClock
from paictl.engine.door import DoorError, Inspection, ask, inspect, wait_ready
from paictl.engine.driver import Reach
from paictl.engine.intent import Declared, Desired
from paictl.errors import PaictlError
from paictl.events import Emit, Event, ignore
from paictl.manifest.models import Continuity

__all__ = ["ContinuityLost", "Guard"]

_READY_SECONDS = 120.0
# An agent that was started again says its schedules a moment later; until then the door repeats those it was told before.
_HELLO_SECONDS, _POLL_SECONDS = 20.0, 0.2


class ContinuityLost(PaictlError):
    """Something named under ``continuity`` does not hold any more."""

    code = "continuity"


@dataclass(frozen=True, slots=True)
class _Before:
    """What held before the change; ``facts`` are the questions that were answered as expected."""

    state: Inspection
    facts: frozenset[str]


@dataclass
class Guard:
    """The checks of one manifest against one agent.

    ``reach`` finds the gateway each time (its token may be new after a change), ``lasting`` are the spaces whose memories never
    expire.
    """

    continuity: Continuity
    reach: Callable[[], Reach]
    lasting: frozenset[str]
    emit: Emit = ignore
    clock: Clock = field(default_factory=SystemClock)
    _before: _Before | None = field(default=None, init=False)

    def remember(self) -> None:
        """Look at the agent as it is; nothing to compare with is no error, for at the first apply there is none."""
        try:
            reach = self.reach()
            self._before = _Before(inspect(reach), frozenset(self._held_facts(reach)))
        except PaictlError:
            self._before = None

    def check(self, desired: Desired) -> None:
        """Wait until the agent is ready and hold it against what was, and against what was declared of what stands now.

        Raises ``ContinuityLost`` naming all that is gone. The manifest may say otherwise meanwhile: a rollback goes back to what
        was declared then.
        """
        reach = self.reach()
        wait_ready(reach, timeout=_READY_SECONDS)
        now = self._greeted(reach, desired.declared)
        lost = [*self._lost_state(now, desired.declared), *self._lost_facts(reach)]
        if lost:
            raise ContinuityLost(
                f"the change would have lost: {'; '.join(lost)}",
                help="The previous release is being restored; look at the change again, or take the check out of `continuity`.",
            )

    def _greeted(self, reach: Reach, declared: Declared) -> Inspection:
        """The agent as it is, once it has told the declared schedules, or had the time for it."""
        deadline = self.clock.monotonic() + _HELLO_SECONDS
        now = inspect(reach)
        while dict(now.schedules) != dict(declared.schedules) and self.clock.monotonic() < deadline:
            self.clock.sleep(_POLL_SECONDS)
            now = inspect(reach)
        return now

    def _lost_state(self, now: Inspection, declared: Declared) -> Iterator[str]:
        checks = self.continuity.checks
        before = self._before.state if self._before else None
        if "schedules" in checks and dict(now.schedules) != dict(declared.schedules):
            yield f"schedules (declared {dict(declared.schedules)}, live {dict(now.schedules)})"
        if "permissions" in checks and now.permissions != declared.permissions:
            yield "permissions (the gateway does not enforce those declared)"
        if before is None:
            return
        if "identity" in checks and now.identity != before.identity:
            yield f"identity (was {before.identity}, is {now.identity})"
        if "memory" in checks:
            for space in sorted(self.lasting & before.records.keys()):
                if now.records.get(space, 0) < before.records[space]:
                    yield f"memory ({space} had {before.records[space]} records, has {now.records.get(space, 0)})"

    def _held_facts(self, reach: Reach) -> Iterator[str]:
        for fact in self.continuity.facts:
            if fact.expect.casefold() in self._answer(reach, fact.ask).casefold():
                yield fact.ask
            else:
                self.emit(Event("continuity", data={"fact": fact.ask, "held": False, "when": "before"}))

    def _lost_facts(self, reach: Reach) -> Iterator[str]:
        before = self._before.facts if self._before else frozenset()
        for fact in self.continuity.facts:
            if fact.ask not in before:
                continue
            answer = self._answer(reach, fact.ask)
            held = fact.expect.casefold() in answer.casefold()
            self.emit(Event("continuity", data={"fact": fact.ask, "held": held, "when": "after"}))
            if not held:
                yield f'the answer to "{fact.ask}" ({fact.expect} expected, "{answer.strip()[:80]}" given)'

    @staticmethod
    def _answer(reach: Reach, question: str) -> str:
        try:
            return ask(reach, question)
        except DoorError as error:
            return f"no answer: {error.summary}"
