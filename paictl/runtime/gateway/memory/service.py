"""Remember, recall, forget: what the door offers of memory, over the record store and the vector index behind their ports.

Recall filters by scope first, ranks by words (BM25) and by meaning (cosine), joins both by reciprocal ranks, and stops at
the token budget. It never decides who may; the door has asked before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from paictl.manifest.models import Space
from paictl.manifest.quantities import parse_duration
from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.database import Database
from paictl.runtime.gateway.memory.catalog import Catalog, Indexes
from paictl.runtime.gateway.memory.indexing import Indexing, Stores
from paictl.runtime.gateway.memory.port import Embedding, Found, NewRecord, RecordStore, Scope, VectorStore
from paictl.runtime.gateway.memory.records import SqliteRecords
from paictl.runtime.gateway.memory.vectors import SqliteStore
from paictl.runtime.headers import SESSION

__all__ = ["Keeping", "Memory", "fuse", "in_file"]

# Cormack, Clarke, Buettcher 2009: the constant that reciprocal rank fusion was published with.
_RRF = 60
_CANDIDATES = 50
_BYTES_PER_TOKEN = 4
_SESSION_SECONDS = 86400.0
_SWEEP_SECONDS = 30.0
_SPARE = 10
_AGAIN_SECONDS = 1.0
_MOST_AGAIN_SECONDS = 8.0
_log = logging.getLogger("paictl.gateway")


async def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where a memory is kept. ``writing`` is held by whoever changes records or vectors; one of all gateways ``leads``."""

    records: RecordStore
    catalog: Indexes
    stores: Stores
    writing: AbstractAsyncContextManager[object]
    leads: Callable[[], Awaitable[bool]] = _always
    owing: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None


def in_file(path: Path, store: VectorStore | None = None) -> Keeping:
    """Records are in the file at ``path``, vectors too unless ``store`` says otherwise. Raises ``ValueError`` as ``Database`` does."""
    # The power cord of a Pi may be pulled: what was remembered stays so, and what was forgotten too.
    database = Database(path, vectors=True, lasting=True)
    embedded = SqliteStore(database)
    return Keeping(
        records=SqliteRecords(database),
        catalog=Catalog(database),
        stores=Stores(store or embedded, embedded),
        writing=asyncio.Lock(),
        close=database.close,
    )


class Memory:
    """The memory of one agent."""

    def __init__(self, keeping: Keeping, spaces: Mapping[str, Space], embedding: Embedding | None) -> None:
        self._keeping = keeping
        self._records = keeping.records
        self._spaces = spaces
        self._writing = keeping.writing
        self._indexing = Indexing(self._records, keeping.catalog, keeping.stores, embedding, self._writing)

    @property
    def problem(self) -> str:
        """Why vectors can't be used, in one line; empty when they can, or when there are none to be."""
        return self._indexing.problem

    async def open(self) -> None:
        await self._records.open()
        for name, space in self._spaces.items():
            if space.retain != "session":
                await self._records.retain(name, None if space.retain == "forever" else parse_duration(space.retain))
        await self._indexing.open()

    def space(self, name: str) -> Space:
        """A declared space; raises ``ApiError`` 404 for any other."""
        if name not in self._spaces:
            declared = ", ".join(sorted(self._spaces)) or "none"
            raise ApiError(
                404, "no_such_space", f"spec.memory.spaces does not declare that space; declared: {declared}"
            )
        return self._spaces[name]

    def scopes(self, names: Sequence[str], session: str) -> list[Scope]:
        """What a conversation sees of these spaces: nothing of other conversations."""
        kept = [(name, self.space(name).retain == "session") for name in names]
        return [Scope(name, session if brief else "") for name, brief in kept if session or not brief]

    async def remember(self, text: str, space: str, session: str, run: str, key: str) -> dict[str, object]:
        """Store a text once; the same key does nothing again, the same text in the same place is freshened."""
        retain = self.space(space).retain
        if retain == "session" and not session:
            raise ApiError(
                400, "no_session", f"the space {space!r} lives for a conversation; {SESSION} does not name one"
            )
        async with self._writing:
            if key and (answer := await self._records.answered(key)) is not None:
                return answer
            scope = Scope(space, session if retain == "session" else "")
            record, new = await self._records.add(NewRecord(text.strip(), scope, _expiry(retain), run, key))
        if new:
            await self._indexing.add(record, scope)
        return {"id": record.id, "space": space}

    async def recall(
        self, query: str, names: Sequence[str], session: str, limit: int, budget: int | None
    ) -> list[Found]:
        """What is remembered about a query in these spaces, best first."""
        scopes = self.scopes(names, session)
        rankings = [
            await self._records.matching(query, scopes, _CANDIDATES),
            await self._indexing.nearest(query, scopes, _CANDIDATES),
        ]
        scores = fuse(rankings)
        ordered = sorted(scores, key=lambda number: (-scores[number], -number))
        # A few more than asked for: one may have expired, and not be swept away yet.
        records = await self._records.fetch(ordered[: limit + _SPARE], scopes)
        return _within(
            [Found(records[number], scores[number]) for number in ordered if number in records][:limit], budget
        )

    async def forget(
        self, record_id: str | None, query: str | None, names: Sequence[str], session: str, key: str
    ) -> list[str]:
        """Erase the record of an id, or every record that holds all words of a query."""
        scopes = self.scopes(names, session)
        async with self._writing:
            if key and (answer := await self._records.answered(key)) is not None:
                return [str(erased) for erased in _as_list(answer.get("forgotten"))]
            found = await self._records.numbered(record_id, scopes) if record_id else []
            if query:
                found += await self._records.containing(query, scopes)
            erased = await self._erase(found)
            if key:
                await self._records.keep_answer(key, {"forgotten": erased})
        return erased

    async def end_session(self, session: str) -> int:
        """A conversation is over: how many records went with it."""
        async with self._writing:
            return len(await self._erase(await self._records.of_session(session)))

    async def prolong(self, session: str) -> None:
        """A conversation goes on."""
        await self._records.prolong(session, time.time() + _SESSION_SECONDS)

    async def counts(self) -> dict[str, int]:
        """Records by space, zero for a declared one without any."""
        return dict.fromkeys(self._spaces, 0) | await self._records.counts()

    async def tend(self) -> None:
        """For ever: erase what has expired, and keep the index in step; what fails is tried again, ever more slowly."""
        said, again = "", _AGAIN_SECONDS
        while True:
            pause = again
            try:
                if await self._keeping.leads():
                    await self._sweep()
                    await self._indexing.catch_up()
                else:
                    await self._indexing.follow()
                await self._records.tidy()
                said, again = "", _AGAIN_SECONDS
                pause = _SWEEP_SECONDS if self._indexing.resting else again
            except ApiError as error:
                if str(error) != said:
                    _log.warning("indexing waits: %s", error)
                said, again = str(error), min(again * 2, _MOST_AGAIN_SECONDS)
            except Exception:  # noqa: BLE001 - the task must outlive whatever one round of it meets
                _log.exception("tending the memory failed; trying again")
                again = min(again * 2, _MOST_AGAIN_SECONDS)
            await self._indexing.rest(pause)

    def nudge(self) -> None:
        """Another gateway left something to do."""
        self._indexing.nudge()

    async def close(self) -> None:
        await self._indexing.close()
        self._keeping.close()

    async def _sweep(self) -> None:
        async with self._writing:
            await self._erase(await self._records.expired(time.time()))

    async def _erase(self, numbers: Sequence[int]) -> list[str]:
        # Vectors first: a crash in between leaves a record that can still be forgotten, never a vector without one. When
        # their store is away, the text goes all the same, and the numbers of the vectors are kept until they are gone.
        if not numbers:
            return []
        removed = await self._indexing.remove(numbers)
        erased = await self._records.erase(numbers, owed=not removed)
        self._indexing.nudge()
        if not removed:
            self._keeping.owing()
        return erased


def fuse(rankings: Sequence[Sequence[int]]) -> dict[int, float]:
    """Reciprocal rank fusion: for each number the sum of 1 / (60 + rank) over the rankings it is in, ranks from 1."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, number in enumerate(ranking, 1):
            scores[number] = scores.get(number, 0.0) + 1 / (_RRF + rank)
    return scores


def _within(found: Sequence[Found], budget: int | None) -> list[Found]:
    if budget is None:
        return list(found)
    kept: list[Found] = []
    for one in found:
        budget -= -(-len(one.record.text.encode()) // _BYTES_PER_TOKEN)
        if budget < 0:
            break
        kept.append(one)
    return kept


def _expiry(retain: str) -> float | None:
    if retain == "forever":
        return None
    return time.time() + (_SESSION_SECONDS if retain == "session" else parse_duration(retain))


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
