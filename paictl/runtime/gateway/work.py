"""The agent's work: a queue that it polls, and the answers that it streams back to whoever waits for them.

The agent listens on nothing, so the door can't call it. Work that was taken and not begun to be answered when the agent
says hello again (it died in between) is offered again under the same id. ``shared/queue.py`` is the same over several gateways.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from paictl.runtime.gateway.answers import ApiError

__all__ = [
    "GREETING_SECONDS",
    "IDLE_SECONDS",
    "LATER",
    "LIFE_SECONDS",
    "STRANGER_SECONDS",
    "TAKE_SECONDS",
    "WAITING",
    "Hello",
    "Work",
    "WorkQueue",
]

# Signs of life: an agent that polls, answers or calls shows them at least this often, whatever else it does.
LIFE_SECONDS = 60.0
TAKE_SECONDS = 30.0
# So long after its start the gateway takes messages for an agent that has yet to come up: both may have been restarted.
GREETING_SECONDS = 20.0
IDLE_SECONDS = 300.0
STRANGER_SECONDS = 1.0
WAITING = 64
_AHEAD = 256
LATER = {"Retry-After": "5"}


@dataclass(frozen=True, slots=True)
class Hello:
    """What the agent said when it came up."""

    schedules: dict[str, str | None]
    workflows: frozenset[str] | None


@dataclass(slots=True, eq=False)
class Work:
    """One piece of work, and the events of its answer (``delta``, ``done``, ``error``)."""

    payload: dict[str, Any]
    events: asyncio.Queue[dict[str, Any]] = field(default_factory=lambda: asyncio.Queue(_AHEAD))
    taken: asyncio.Event = field(default_factory=asyncio.Event)
    begun: bool = False

    @property
    def id(self) -> str:
        return str(self.payload["id"])


class WorkQueue:
    """What waits for the agent and what it has taken. On the event loop only."""

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self._waiting: OrderedDict[str, Work] = OrderedDict()
        self._taken: dict[str, Work] = {}
        self._polls = 0
        self._replies = 0
        self._seen = 0.0
        self._began = time.monotonic()
        self._closed = False
        self._changed = asyncio.Condition()

    async def open(self) -> None:
        """It is empty when the gateway begins."""

    async def greeted(self) -> Hello | None:
        """What the agent said when it came up; None when it did not yet."""
        return self.hello

    async def ready(self) -> bool:
        """Whether an agent is there: it said hello and shows signs of life."""
        alive = self._polls or self._replies or time.monotonic() - self._seen < LIFE_SECONDS
        return self.hello is not None and bool(alive)

    def sign_of_life(self) -> None:
        """The agent called for whatever reason."""
        self._seen = time.monotonic()

    async def welcome(self, hello: Hello) -> None:
        """The agent (re)started: what its predecessor took and did not begin to answer waits again."""
        self.hello = hello
        for work in [work for work in self._taken.values() if not work.begun]:
            del self._taken[work.id]
            work.taken.clear()
            self._waiting[work.id] = work
            self._waiting.move_to_end(work.id, last=False)
        async with self._changed:
            self._changed.notify_all()

    async def close(self) -> None:
        """The gateway ends: polls come back empty, so that nothing holds it up."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()

    async def end(self) -> None:
        """Nothing is kept."""

    async def offer(self, payload: dict[str, Any]) -> Work:
        """Queue work; raises ``ApiError`` 503 when nobody is there to do it, nor can be expected any moment."""
        await self._greeting()
        if not await self.ready():
            raise ApiError(
                503, "agent_unavailable", "the agent is not up; paictl status and paictl logs agent say why", LATER
            )
        if len(self._waiting) >= WAITING:
            raise ApiError(503, "agent_busy", f"{WAITING} messages wait for the agent already", LATER)
        work = Work({"id": f"work-{uuid.uuid4().hex}"} | payload)
        self._waiting[work.id] = work
        async with self._changed:
            self._changed.notify()
        return work

    async def _greeting(self) -> None:
        """Wait for the agent's first hello, but not longer after the gateway's own start than it may take."""
        patience = self._began + GREETING_SECONDS - time.monotonic()
        if self.hello is None and patience > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience), self._changed:
                    await self._changed.wait_for(lambda: self.hello is not None or self._closed)

    async def take(self, seconds: float) -> Work | None:
        """The next piece of work, or None after that many seconds."""
        if self.hello is None:
            # It said hello to this gateway's predecessor, on its way out: a poll that ends early has it say so again.
            seconds = min(seconds, STRANGER_SECONDS)
        self._polls += 1
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
                if not self._waiting:
                    return None
                _, work = self._waiting.popitem(last=False)
        except TimeoutError:
            return None
        finally:
            self._polls -= 1
            self.sign_of_life()
        if work.payload["kind"] == "chat":
            self._taken[work.id] = work
        work.taken.set()
        return work

    async def answering(self, work_id: str, reply: str) -> Work:
        """The work that a reply is for; ``reply`` tells one attempt of the agent's from another.

        Raises ``ApiError`` 410 when nobody waits for it any more.
        """
        del reply
        work = self._taken.get(work_id) or self._waiting.pop(work_id, None)
        if work is None:
            raise ApiError(410, "nobody_waits", "nobody waits for this answer any more")
        self._taken[work_id] = work
        work.begun = True
        work.taken.set()
        return work

    async def reply(self, work: Work, events: AsyncIterator[dict[str, Any]]) -> None:
        """Pass the events of an answer on, each at once; raises ``ApiError`` 410 as soon as nobody waits."""
        self._replies += 1
        finished = False
        try:
            async for event in events:
                if self._taken.get(work.id) is not work:
                    raise ApiError(410, "nobody_waits", "nobody waits for this answer any more")
                finished = "done" in event or "error" in event
                await work.events.put(event)
        finally:
            self._replies -= 1
            self.sign_of_life()
            if not finished and self._taken.get(work.id) is work:
                self._fail(work)

    async def events(self, work: Work) -> AsyncIterator[dict[str, Any]]:
        """The answer as it comes, ending with ``done``. Raises ``ApiError`` when there is none."""
        try:
            await self._until_taken(work)
            while True:
                try:
                    event = await asyncio.wait_for(work.events.get(), IDLE_SECONDS)
                except TimeoutError as error:
                    raise ApiError(
                        504, "agent_timeout", f"the agent said nothing for {IDLE_SECONDS:.0f} seconds"
                    ) from error
                if "error" in event:
                    raise ApiError(502, "agent_failed", str(event["error"]))
                yield event
                if "done" in event:
                    return
        finally:
            self.abandon(work)

    def abandon(self, work: Work) -> None:
        """Nobody waits for it any more."""
        self._waiting.pop(work.id, None)
        self._taken.pop(work.id, None)
        # A reply that is blocked on a full queue goes on, and finds out.
        while not work.events.empty():
            work.events.get_nowait()

    async def _until_taken(self, work: Work) -> None:
        while not work.taken.is_set():
            try:
                await asyncio.wait_for(work.taken.wait(), TAKE_SECONDS)
            except TimeoutError as error:
                busy = bool(self._replies) or time.monotonic() - self._seen < TAKE_SECONDS
                if not busy:
                    raise ApiError(503, "agent_unavailable", "the agent did not take the message", LATER) from error

    def _fail(self, work: Work) -> None:
        while work.events.full():
            work.events.get_nowait()
        work.events.put_nowait({"error": "the agent broke off in the middle of its answer"})
