"""The agent's work over several gateways: offered at one, fetched at another, answered through a third.

Behind the same calls as ``work.WorkQueue``, which says what they mean. A row stands for each piece of work, and belongs to
the gateway at which somebody waits; words of an answer that arrive elsewhere are rows until that gateway has fetched them.
An answer whose way was cut is waited for: the agent sends it again, from its beginning, and what came before is passed over.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.shared import rows
from paictl.runtime.gateway.shared.exchange import Exchange
from paictl.runtime.gateway.shared.postgres import Postgres
from paictl.runtime.gateway.shared.sealing import Seal
from paictl.runtime.gateway.work import (
    GREETING_SECONDS,
    IDLE_SECONDS,
    LATER,
    STRANGER_SECONDS,
    TAKE_SECONDS,
    WAITING,
    Hello,
    Work,
)

__all__ = ["SharedQueue"]

_BEAT_SECONDS = 5.0
_LOOK_SECONDS = 2.0
_KNOWN_SECONDS = 1.0
# So long after its way was cut the agent may begin to send an answer again.
_PATIENCE_SECONDS = 10.0
_NOBODY = ApiError(410, "nobody_waits", "nobody waits for this answer any more")


@dataclass(slots=True, eq=False)
class _Waited(Work):
    """Work for which somebody waits at this gateway."""

    passed: int = 0
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)
    heard: float = field(default_factory=time.monotonic)


@dataclass(slots=True, eq=False)
class _Elsewhere(Work):
    """Work for which somebody waits at another gateway."""

    gateway: int = 0
    reply: str = ""


class SharedQueue:
    """What waits for the agent and what it has taken, in the database. On the event loop only."""

    def __init__(self, postgres: Postgres, exchange: Exchange, seal: Seal) -> None:
        self._postgres = postgres
        self._exchange = exchange
        self._seal = seal
        self._mine: dict[str, _Waited] = {}
        self._polls = self._replies = 0
        self._seen = False
        self._began = time.monotonic()
        self._closed = False
        self._news = 0
        self._changed = asyncio.Condition()
        self._known: tuple[float, rows.Greeting | None] = (-1e9, None)
        self._doing: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Hear of the others' work, and tell them of the agent's signs of life here."""
        self._exchange.hear("work", lambda _: self._do(self._tell_pollers))
        self._exchange.hear("taken", self._was_taken)
        self._exchange.hear("event", self._was_answered)
        self._exchange.after_gap(self._look_again)
        self._do(self._beat)
        self._do(self._sweep)

    async def greeted(self) -> Hello | None:
        known = await self._greeting()
        return known.hello if known else None

    async def ready(self) -> bool:
        known = await self._greeting()
        return known is not None and known.alive

    def sign_of_life(self) -> None:
        self._seen = True

    async def welcome(self, hello: Hello) -> None:
        await self._postgres.run(rows.welcome, hello, self._exchange)
        self._known = (-1e9, None)

    async def close(self) -> None:
        self._closed = True
        await self._tell_pollers()

    async def end(self) -> None:
        """What nobody waits for here any more is nobody's."""
        for work in list(self._mine.values()):
            self.abandon(work)
        ending = {task for task in self._doing if task.get_name() == "forget"}
        for task in self._doing - ending:
            task.cancel()
        if self._doing:
            await asyncio.wait(self._doing)

    async def offer(self, payload: dict[str, Any]) -> Work:
        await self._first_hello()
        if not await self.ready():
            raise ApiError(
                503, "agent_unavailable", "the agent is not up; paictl status and paictl logs agent say why", LATER
            )
        work = _Waited({"id": f"work-{uuid.uuid4().hex}"} | payload)
        sealed = self._seal.close(work.payload, work.id)
        self._mine[work.id] = work
        try:
            offered = await self._postgres.run(
                rows.offer, work.id, work.payload["kind"], sealed, exchange=self._exchange, most=WAITING
            )
        except BaseException:
            self.abandon(work)
            raise
        if not offered:
            self._mine.pop(work.id, None)
            raise ApiError(503, "agent_busy", f"{WAITING} messages wait for the agent already", LATER)
        if work.payload["kind"] != "chat":
            self._mine.pop(work.id, None)
        return work

    async def take(self, seconds: float) -> Work | None:
        if await self.greeted() is None:
            # The database forgot its hello: a poll that ends early has it said again.
            seconds = min(seconds, STRANGER_SECONDS)
        deadline = time.monotonic() + seconds
        self._polls += 1
        try:
            while not self._closed:
                news, work = self._news, await self._next()
                left = deadline - time.monotonic()
                if work is not None or left <= 0:
                    return work
                await self._until_news(news, min(left, _BEAT_SECONDS))
            return None
        finally:
            self._polls -= 1
            self.sign_of_life()

    async def answering(self, work_id: str, reply: str) -> Work:
        found = await self._postgres.run(rows.begin, work_id, reply, self._exchange)
        if found is None:
            raise _NOBODY
        here = self._mine.get(work_id)
        if found == self._exchange.number and here is None:
            raise _NOBODY
        if here is not None:
            here.taken.set()
        return here or _Elsewhere({"id": work_id}, gateway=found, reply=reply)

    async def reply(self, work: Work, events: AsyncIterator[dict[str, Any]]) -> None:
        self._replies += 1
        number, finished = 0, False
        try:
            async for event in events:
                finished = "done" in event or "error" in event
                await self._pass(work, number, event)
                number += 1
        finally:
            self._replies -= 1
            self.sign_of_life()
            if not finished:
                await asyncio.shield(self._do(lambda: self._postgres.run(rows.cut, work.id, self._exchange.number)))

    async def events(self, work: Work) -> AsyncIterator[dict[str, Any]]:
        if not isinstance(work, _Waited):
            raise TypeError("nobody waits here for what was offered elsewhere")
        try:
            await self._until_taken(work)
            while True:
                event = await self._event(work)
                if "error" in event:
                    raise ApiError(502, "agent_failed", str(event["error"]))
                yield event
                if "done" in event:
                    return
        finally:
            self.abandon(work)

    def abandon(self, work: Work) -> None:
        known = self._mine.pop(work.id, None)
        if known is None:
            return
        # An answer that is blocked on a full queue goes on, and finds out.
        while not known.events.empty():
            known.events.get_nowait()
        self._do(lambda: self._postgres.run(rows.forget, known.id), "forget")

    async def _event(self, work: _Waited) -> dict[str, Any]:
        """The next event; while there is none, look whether its way was cut, or a message missed."""
        cut = 0.0
        while True:
            try:
                event = await asyncio.wait_for(work.events.get(), _LOOK_SECONDS)
            except TimeoutError:
                pass
            else:
                work.heard = time.monotonic()
                return event
            await self._fetch(work)
            if not work.events.empty():
                continue
            way = await self._postgres.run(rows.way, work.id, self._exchange.number)
            if way is None:
                raise ApiError(502, "agent_failed", "the database lost what was in flight")
            cut = 0.0 if way else cut or time.monotonic()
            if cut and time.monotonic() - cut > _PATIENCE_SECONDS:
                raise ApiError(502, "agent_failed", "the agent broke off in the middle of its answer")
            if time.monotonic() - work.heard > IDLE_SECONDS:
                raise ApiError(504, "agent_timeout", f"the agent said nothing for {IDLE_SECONDS:.0f} seconds")

    async def _pass(self, work: Work, number: int, event: dict[str, Any]) -> None:
        if isinstance(work, _Waited):
            if self._mine.get(work.id) is not work:
                raise _NOBODY
            await _accept(work, number, event)
        elif isinstance(work, _Elsewhere):
            sealed = self._seal.close(event, f"{work.id} {number}")
            place = rows.Place(work.id, work.reply, work.gateway)
            if not await self._postgres.run(rows.say, place, number, sealed, self._exchange):
                raise _NOBODY

    async def _fetch(self, work: _Waited) -> None:
        async with work.fetching:
            for number, sealed in await self._postgres.run(rows.fetch, work.id):
                await _accept(work, number, self._seal.open(sealed, f"{work.id} {number}"))

    async def _next(self) -> Work | None:
        taking = asyncio.ensure_future(self._postgres.run(rows.take, self._exchange))
        try:
            found = await asyncio.shield(taking)
        except asyncio.CancelledError:
            # Whoever polled is gone: what was taken in its name waits again.
            self._do(lambda: self._put_back(taking))
            raise
        if found is None:
            return None
        work = Work(self._seal.open(found.payload, found.id))
        if (here := self._mine.get(found.id)) is not None:
            here.taken.set()
        return work

    async def _put_back(self, taking: asyncio.Future[rows.Taken | None]) -> None:
        found = await taking
        if found is not None:
            await self._postgres.run(rows.put_back, found, self._exchange)

    async def _until_taken(self, work: _Waited) -> None:
        while not work.taken.is_set():
            try:
                await asyncio.wait_for(work.taken.wait(), TAKE_SECONDS)
            except TimeoutError as error:
                if not await self._postgres.run(rows.busy, TAKE_SECONDS):
                    raise ApiError(503, "agent_unavailable", "the agent did not take the message", LATER) from error

    async def _first_hello(self) -> None:
        """Wait for the agent's first hello, but not longer after the gateway's own start than it may take."""
        while await self.greeted() is None and time.monotonic() - self._began < GREETING_SECONDS and not self._closed:
            # It is told to all gateways as news; looked for all the same, should this one not hear yet.
            await self._until_news(self._news, _KNOWN_SECONDS)

    async def _greeting(self) -> rows.Greeting | None:
        at, known = self._known
        if known is None or not known.alive or time.monotonic() - at > _KNOWN_SECONDS:
            known = await self._postgres.run(rows.greeting)
            self._known = (time.monotonic(), known)
        return known

    async def _until_news(self, news: int, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._news != news or self._closed)
        except TimeoutError:
            return

    async def _tell_pollers(self) -> None:
        self._news += 1
        async with self._changed:
            self._changed.notify_all()

    def _was_taken(self, work_id: str) -> None:
        if (work := self._mine.get(work_id)) is not None:
            work.taken.set()

    def _was_answered(self, work_id: str) -> None:
        if (work := self._mine.get(work_id)) is not None:
            work.taken.set()
            self._do(lambda: self._fetch(work))

    def _look_again(self) -> None:
        self._do(self._tell_pollers)
        for work in self._mine.values():
            self._was_answered(work.id)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            if self._polls or self._replies or self._seen:
                self._seen = False
                await self._quietly(self._postgres.run(rows.seen))

    async def _sweep(self) -> None:
        """What belonged to a gateway that is gone is removed; looked at twice, for one may only have lost its connection."""
        gone: set[int] = set()
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            found = await self._quietly(self._postgres.run(rows.strays, gone))
            gone = found or set()

    @staticmethod
    async def _quietly(doing: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await doing
        except ApiError:
            return None  # the next round does it

    def _do(self, what: Callable[[], Coroutine[Any, Any, Any]], name: str = "") -> asyncio.Task[Any]:
        task = asyncio.create_task(self._quietly(what()), name=name)
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)
        return task


async def _accept(work: _Waited, number: int, event: dict[str, Any]) -> None:
    """Give an event to whoever waits, unless it was given before."""
    if number == work.passed:
        work.passed += 1
        await work.events.put(event)
