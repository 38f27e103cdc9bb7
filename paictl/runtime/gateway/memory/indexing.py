"""Keeps the vector index in step with the records: opens it, fills it, checks it, replaces it, and outlives its server.

Called by ``Memory`` only. The records are the truth; whatever an index lost or never had is made again from their texts.
While there is no complete index that answers, recall goes by words alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.memory.catalog import Entry, Indexes
from paictl.runtime.gateway.memory.port import (
    Embedding,
    Record,
    RecordStore,
    Scope,
    StoreUnavailable,
    Vector,
    VectorIndex,
    VectorStore,
)

__all__ = ["Indexing", "Stores"]

_BATCH = 32
_EMBED_SECONDS = 20.0
_log = logging.getLogger("paictl.gateway")


@dataclass(frozen=True, slots=True)
class Stores:
    """Where vectors are kept at present, and the embedded store: what it kept before can be let go of at any time.

    There is no embedded one where the records are not in a file.
    """

    present: VectorStore | None
    embedded: VectorStore | None

    def of(self, engine: str) -> VectorStore | None:
        """The store of that engine, if it can be reached with the present configuration."""
        return next((store for store in (self.present, self.embedded) if store and store.engine == engine), None)


@dataclass(slots=True)
class _Open:
    entry: Entry
    index: VectorIndex
    complete: bool


class Indexing:
    """The present index and those that it replaces. ``writing`` is held by whoever changes records or vectors."""

    def __init__(
        self,
        records: RecordStore,
        catalog: Indexes,
        stores: Stores,
        embedding: Embedding | None,
        writing: AbstractAsyncContextManager[object],
    ) -> None:
        self._records = records
        self._catalog = catalog
        self._stores = stores
        self._embedding = embedding
        self._writing = writing
        self._open: _Open | None = None
        self._retired: list[tuple[str, VectorIndex]] = []
        self._due = asyncio.Event()
        self._following = False
        served = stores.present is not None and stores.present is not stores.embedded
        self.problem = f"{stores.present.engine} was not reached yet" if embedding and served and stores.present else ""

    @property
    def resting(self) -> bool:
        """Whether there is nothing to do until something changes."""
        return self._embedding is None or (self._open is not None and self._open.complete)

    async def open(self) -> None:
        """At the start: what needs no server. The gateway begins without one, and finds it later."""
        await self._catalog.open()
        if self._embedding is None:
            await self._retire("")
        elif self._embedding.dimension and self._stores.present is self._stores.embedded:
            await self._begin(self._embedding, self._embedding.dimension)

    async def nearest(self, query: str, scopes: Sequence[Scope], most: int) -> list[int]:
        """The records nearest in meaning; none while there is no complete index: half of one would hide the other half."""
        present = self._open
        if present is None or not present.complete or self._embedding is None or not scopes:
            return []
        try:
            [vector] = await asyncio.wait_for(self._embedding.embed([query]), _EMBED_SECONDS)
            return await present.index.nearest(vector, scopes, most)
        except StoreUnavailable as error:
            self._lose(error)
        except (ApiError, TimeoutError) as error:
            _log.warning("recall goes by words alone: %s", error)
        return []

    async def add(self, record: Record, scope: Scope) -> None:
        """Index a new record if that can be done now; else it is found by words, and ``catch_up`` does it."""
        if self._open is None or self._embedding is None:
            return
        with contextlib.suppress(ApiError, TimeoutError):
            [vector] = await asyncio.wait_for(self._embedding.embed([record.text]), _EMBED_SECONDS)
            await self._put([(record.number, scope, vector)])

    async def remove(self, numbers: Sequence[int]) -> bool:
        """Erase vectors; False when some have to go later. ``writing`` is held."""
        if self._embedding is not None and (self._open is None or self._following):
            return False
        present = [self._open.index] if self._open else []
        try:
            for index in (*present, *(index for _, index in self._retired)):
                await index.remove(numbers)
        except StoreUnavailable as error:
            self._lose(error)
            return False
        # What was erased is overwritten soon, not while somebody waits.
        self._due.set()
        return True

    async def catch_up(self) -> None:
        """Make the index what the records say. Raises ``ApiError`` when the embedding or the store is away."""
        if self._embedding is None:
            return
        if self._following:
            # Whoever did this before is gone; what it had begun is done to its end.
            self._following, self._open = False, None
        try:
            await self._catch_up(self._embedding)
        except StoreUnavailable as error:
            self._lose(error)
            raise

    async def follow(self) -> None:
        """Another gateway keeps the index: use the one that it has. Raises ``StoreUnavailable`` when the store is away."""
        store, embedding = self._stores.present, self._embedding
        if embedding is None or store is None:
            return
        self._following = True
        entry = await self._catalog.entry(store.engine, embedding.fingerprint, embedding.dimension)
        if entry is not None and self._open is not None and self._open.entry.name == entry.name:
            self._open.complete = entry.complete
            return
        try:
            index = await store.find(entry.name, entry.dimension) if entry else None
        except StoreUnavailable as error:
            self._lose(error)
            raise
        self._open = _Open(entry, index, entry.complete) if entry and index else None
        self.problem = "" if self._open else f"{store.engine} has no index yet"

    def nudge(self) -> None:
        """There is something to do."""
        self._due.set()

    async def rest(self, seconds: float) -> None:
        """Sleep that long, or until there is something to do."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._due.wait(), seconds)
        self._due.clear()

    async def close(self) -> None:
        if self._stores.present is not None:
            await self._stores.present.close()

    def _lose(self, error: StoreUnavailable) -> None:
        # Whoever comes next does not wait for it: until catch_up has found it again, nobody asks it.
        self._open = None
        self.problem = str(error)
        self._due.set()

    def _present(self) -> VectorStore:
        if self._stores.present is None:
            raise StoreUnavailable("no store of vectors is named: memory.store")
        return self._stores.present

    async def _begin(self, embedding: Embedding, dimension: int) -> _Open:
        store = self._present()
        entry = await self._catalog.entry(store.engine, embedding.fingerprint, dimension)
        index = await store.find(entry.name, dimension) if entry else None
        if entry and index is None:
            _log.warning("%s lost its vectors; they are made again from the records", store.engine)
            await self._catalog.remove(entry.name)
        if entry is None or index is None:
            return await self._make(embedding, dimension)
        return await self._use(entry, index)

    async def _make(self, embedding: Embedding, dimension: int) -> _Open:
        store = self._present()
        entry = await self._catalog.add(store.engine, embedding.fingerprint, dimension)
        return await self._use(entry, await store.create(entry.name, dimension))

    async def _use(self, entry: Entry, index: VectorIndex) -> _Open:
        await self._retire(entry.name)
        self._open = _Open(entry, index, entry.complete)
        self.problem = ""
        return self._open

    async def _retire(self, name: str) -> None:
        """Find the other indexes. One on a server that is named no longer is out of reach; named again, it has to catch up."""
        self._retired = []
        for entry in await self._catalog.others(name):
            store = self._stores.of(entry.engine)
            if store is None:
                await self._catalog.mark(entry.name, complete=False)
                continue
            index = await store.find(entry.name, entry.dimension)
            if index is None:
                await self._catalog.remove(entry.name)
            else:
                self._retired.append((entry.name, index))

    async def _catch_up(self, embedding: Embedding) -> None:
        present = self._open
        if present is None:
            dimension = embedding.dimension or len((await embedding.embed(["dimension"]))[0])
            present = await self._begin(embedding, dimension)
        async with self._writing:
            if owed := await self._records.owed():
                if not await self.remove(owed):
                    return
                await self._records.settled(owed)
            await present.index.tidy()
        while missing := await self._records.unindexed(present.entry.name, _BATCH):
            vectors = await embedding.embed([record.text for record in missing])
            await self._put([(one.number, one.scope, vector) for one, vector in zip(missing, vectors, strict=True)])
        async with self._writing:
            whole = await present.index.count() == await self._records.indexed_count(present.entry.name)
        if not whole:
            _log.warning("%s does not hold what it was given; its index is built anew", present.entry.engine)
            await self._make(embedding, present.entry.dimension)
            return
        if not present.complete:
            await self._catalog.mark(present.entry.name, complete=True)
            present.complete = True
        await self._let_go()

    async def _put(self, rows: Sequence[tuple[int, Scope, Vector]]) -> None:
        async with self._writing:
            present = self._open
            if present is None:
                raise StoreUnavailable(self.problem)
            # What was forgotten while its vector was made must not come back as a vector.
            alive = await self._records.existing([row[0] for row in rows])
            try:
                await present.index.put([row for row in rows if row[0] in alive])
            except StoreUnavailable as error:
                self._lose(error)
                raise
            await self._records.indexed(sorted(alive), present.entry.name)

    async def _let_go(self) -> None:
        while self._retired:
            async with self._writing:
                name, index = self._retired[-1]
                await index.drop()
                await self._catalog.remove(name)
                self._retired.pop()
