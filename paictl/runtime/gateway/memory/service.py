"""Remember, recall, forget: what the door offers of memory, over the record store and the vector index behind their ports.

Recall filters by scope first, ranks by words (BM25) and by meaning (cosine), joins both by reciprocal ranks, and stops at
the token budget. It never decides who may; the door has asked before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paictl.manifest.models import Space
from paictl.manifest.quantities import parse_duration
from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.database import Database
from paictl.runtime.gateway.memory.port import Embedder, Found, NewRecord, Record, Scope
from paictl.runtime.gateway.memory.records import SqliteRecords
from paictl.runtime.gateway.memory.vectors import Catalog, SqliteVectors

__all__ = ["Embedding", "Memory", "fuse"]

# Cormack, Clarke, Buettcher 2009: the constant that reciprocal rank fusion was published with.
_RRF = 60
_CANDIDATES = 50
_BYTES_PER_TOKEN = 4
_SESSION_SECONDS = 86400.0
_SWEEP_SECONDS = 30.0
_BATCH = 32
_SPARE = 10
_EMBED_SECONDS = 20.0
_log = logging.getLogger("paictl.gateway")


@dataclass(frozen=True, slots=True)
class Embedding:
    """How texts become vectors, and the identity within which these can be compared.

    A server of somebody else's does not say its dimension beforehand (None): its first vector does.
    """

    embed: Embedder
    fingerprint: str
    dimension: int | None


class Memory:
    """The memory of one agent."""

    def __init__(self, path: Path, spaces: Mapping[str, Space], embedding: Embedding | None) -> None:
        self._database = Database(path, vectors=True)
        self._records = SqliteRecords(self._database)
        self._catalog = Catalog(self._database)
        self._spaces = spaces
        self._embedding = embedding
        self._index: SqliteVectors | None = None
        self._retired: list[SqliteVectors] = []
        self._complete = False
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        await self._records.open()
        for name, space in self._spaces.items():
            if space.retain != "session":
                await self._records.retain(name, None if space.retain == "forever" else parse_duration(space.retain))
        await self._catalog.open()
        fingerprint = self._embedding.fingerprint if self._embedding else ""
        self._retired = await self._catalog.others(fingerprint)
        if self._embedding and self._embedding.dimension:
            self._index, self._complete = await self._catalog.index(fingerprint, self._embedding.dimension)

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
                400, "no_session", f"the space {space!r} lives for a conversation; X-Paictl-Session does not name one"
            )
        async with self._writing:
            if key and (answer := await self._records.answered(key)) is not None:
                return answer
            scope = Scope(space, session if retain == "session" else "")
            record, new = await self._records.add(NewRecord(text.strip(), scope, _expiry(retain), run, key))
        if new:
            await self._try_to_index(record, scope)
        return {"id": record.id, "space": space}

    async def recall(
        self, query: str, names: Sequence[str], session: str, limit: int, budget: int | None
    ) -> list[Found]:
        """What is remembered about a query in these spaces, best first."""
        scopes = self.scopes(names, session)
        rankings = [await self._records.matching(query, scopes, _CANDIDATES), await self._by_meaning(query, scopes)]
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
        """For ever: erase what has expired, index what has no vector yet, and let go of an index that was replaced."""
        while True:
            try:
                async with self._writing:
                    await self._erase(await self._records.expired(time.time()))
                await self._catch_up()
            except ApiError as error:
                _log.warning("indexing waits: %s", error)
            except Exception:  # noqa: BLE001 - the task must outlive whatever one round of it meets
                _log.exception("tending the memory failed; trying again")
            await asyncio.sleep(_SWEEP_SECONDS if self._complete or not self._embedding else 1.0)

    def close(self) -> None:
        self._database.close()

    async def _by_meaning(self, query: str, scopes: Sequence[Scope]) -> list[int]:
        # Until a new index is complete, words alone decide: half an index would hide the other half.
        if self._index is None or self._embedding is None or not self._complete or not scopes:
            return []
        try:
            [vector] = await asyncio.wait_for(self._embedding.embed([query]), _EMBED_SECONDS)
            return await self._index.nearest(vector, scopes, _CANDIDATES)
        except (ApiError, TimeoutError) as error:
            _log.warning("recall goes by words alone: %s", error)
            return []

    async def _try_to_index(self, record: Record, scope: Scope) -> None:
        if self._index is None or self._embedding is None:
            return
        # Without its vector the record is found by words; the tending adds it.
        with contextlib.suppress(ApiError, TimeoutError):
            [vector] = await asyncio.wait_for(self._embedding.embed([record.text]), _EMBED_SECONDS)
            await self._put([(record.number, scope, vector)])

    async def _put(self, rows: Sequence[tuple[int, Scope, Sequence[float]]]) -> None:
        assert self._index is not None  # noqa: S101 - both callers have asked
        assert self._embedding is not None  # noqa: S101 - both callers have asked
        async with self._writing:
            # What was forgotten while its vector was made must not come back as a vector.
            alive = await self._records.existing([row[0] for row in rows])
            await self._index.put([row for row in rows if row[0] in alive])
            await self._records.indexed(sorted(alive), self._embedding.fingerprint)

    async def _catch_up(self) -> None:
        if self._embedding is None:
            return
        if self._index is None:
            [vector] = await self._embedding.embed(["dimension"])
            self._index, self._complete = await self._catalog.index(self._embedding.fingerprint, len(vector))
        while missing := await self._records.unindexed(self._embedding.fingerprint, _BATCH):
            vectors = await self._embedding.embed([record.text for record in missing])
            await self._put(
                [(record.number, record.scope, vector) for record, vector in zip(missing, vectors, strict=True)]
            )
        if not self._complete:
            await self._catalog.complete(self._embedding.fingerprint)
            self._complete = True
        while self._retired:
            async with self._writing:
                await self._retired.pop().drop()

    async def _erase(self, numbers: Sequence[int]) -> list[str]:
        # Vectors first: a crash in between leaves a record that can still be forgotten, never a vector without one.
        if not numbers:
            return []
        for index in (*([self._index] if self._index else []), *self._retired):
            await index.remove(numbers)
        return await self._records.erase(numbers)


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
