"""The port of memory: what a record store, a vector index and an embedding must do, whatever software does it.

The store holds text and labels; an index holds numbers, vectors and scopes only, never text, because deleted text stayed
on the disk of every vector store that was measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from paictl.runtime.gateway.answers import ApiError

__all__ = [
    "Embedder",
    "Embedding",
    "Found",
    "NewRecord",
    "Record",
    "RecordStore",
    "Scope",
    "StoreUnavailable",
    "Unindexed",
    "Vector",
    "VectorIndex",
    "VectorStore",
]

Vector = Sequence[float]


@dataclass(frozen=True, slots=True)
class Scope:
    """Who can see a record: a space, or a space within one conversation."""

    space: str
    session: str = ""

    @property
    def token(self) -> str:
        """One word of letters and digits, so that a text index can filter by it too; tells nothing of the session's id.

        The last digit keeps a stemmer from taking two words for one.
        """
        if not self.session:
            return f"x{self.space.encode().hex()}0"
        return f"y{hashlib.sha256(f'{self.space}:{self.session}'.encode()).hexdigest()[:32]}0"


@dataclass(frozen=True, slots=True)
class NewRecord:
    """Something to remember. ``expires`` is a Unix time, or None for never."""

    text: str
    scope: Scope
    expires: float | None = None
    run: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """Something remembered. ``number`` is the store's own; ``id`` is what others name it by."""

    number: int
    id: str
    text: str
    space: str
    created: float


@dataclass(frozen=True, slots=True)
class Found:
    """A record that answers a question, and how well: the sum of its reciprocal ranks."""

    record: Record
    score: float


@dataclass(frozen=True, slots=True)
class Unindexed:
    """A record without a vector of the present embedding."""

    number: int
    text: str
    scope: Scope


class Embedder(Protocol):
    """Turns texts into vectors."""

    async def __call__(self, texts: list[str]) -> list[list[float]]:
        """One vector a text, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Embedding:
    """How texts become vectors, and the identity within which these can be compared.

    A server of somebody else's does not say its dimension beforehand (None): its first vector does.
    """

    embed: Embedder
    fingerprint: str
    dimension: int | None


class StoreUnavailable(ApiError):
    """A server of vectors that does not do its work; the message is one line for whoever runs it, without any secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(503, "store_unavailable", reason)


class VectorIndex(Protocol):
    """Vectors of one embedding identity, by the record's number. On a server, each method raises ``StoreUnavailable``."""

    async def put(self, rows: Sequence[tuple[int, Scope, Vector]]) -> None:
        """Add or replace."""
        ...

    async def nearest(self, vector: Vector, scopes: Sequence[Scope], most: int) -> list[int]:
        """The nearest records within these scopes, nearest first."""
        ...

    async def remove(self, numbers: Sequence[int]) -> None:
        """Erase; unknown numbers are fine."""
        ...

    async def count(self) -> int:
        """How many vectors it holds."""
        ...

    async def tidy(self) -> None:
        """Overwrite what was removed, where that is work of its own; done in the background."""
        ...

    async def drop(self) -> None:
        """Erase everything."""
        ...


class VectorStore(Protocol):
    """Where indexes are kept: the file beside the records, or a server."""

    @property
    def engine(self) -> str:
        """Its name in the manifest."""
        ...

    async def create(self, name: str, dimension: int) -> VectorIndex:
        """A new index; the name is ours and used once only."""
        ...

    async def find(self, name: str, dimension: int) -> VectorIndex | None:
        """The index of that name, or None when it is not there (any more)."""
        ...

    async def close(self) -> None:
        """Let go of what is open."""
        ...


class RecordStore(Protocol):
    """Records and their text index."""

    async def open(self) -> None:
        """Make or find what it keeps."""
        ...

    async def retain(self, space: str, seconds: int | None) -> None:
        """Apply a space's present retention to what it holds already."""
        ...

    async def add(self, new: NewRecord) -> tuple[Record, bool]:
        """Store it, unless its key or its text (in that scope) is there already: then that one, freshened. Tells if it is new."""
        ...

    async def matching(self, text: str, scopes: Sequence[Scope], most: int) -> list[int]:
        """Records that share words with a text, best first (BM25)."""
        ...

    async def containing(self, text: str, scopes: Sequence[Scope]) -> list[int]:
        """Records that hold every word of a text."""
        ...

    async def fetch(self, numbers: Sequence[int], scopes: Sequence[Scope]) -> dict[int, Record]:
        """Living records by number, of these scopes only."""
        ...

    async def numbered(self, record_id: str, scopes: Sequence[Scope]) -> list[int]:
        """The record of that id, if it is in these scopes."""
        ...

    async def expired(self, now: float) -> list[int]:
        """Records whose time is over."""
        ...

    async def of_session(self, session: str) -> list[int]:
        """Everything that was remembered for one conversation only."""
        ...

    async def existing(self, numbers: Sequence[int]) -> set[int]:
        """Which of these records are still there."""
        ...

    async def erase(self, numbers: Sequence[int], *, owed: bool) -> list[str]:
        """Erase records for good, overwriting what was there; their ids. ``owed``: their vectors have still to go."""
        ...

    async def prolong(self, session: str, expires: float) -> None:
        """A conversation goes on, and so does what is remembered for it."""
        ...

    async def counts(self) -> dict[str, int]:
        """Living records by space."""
        ...

    async def unindexed(self, index: str, most: int) -> list[Unindexed]:
        """Records without a vector in that index."""
        ...

    async def indexed(self, numbers: Sequence[int], index: str) -> None:
        """They have one there now."""
        ...

    async def indexed_count(self, index: str) -> int:
        """How many have one there."""
        ...

    async def owed(self) -> list[int]:
        """Numbers of erased records whose vectors have still to go."""
        ...

    async def settled(self, numbers: Sequence[int]) -> None:
        """These have gone."""
        ...

    async def tidy(self) -> None:
        """Overwrite what was erased, where that is work of its own; done in the background."""
        ...

    async def answered(self, key: str) -> dict[str, object] | None:
        """What a writing call with that idempotency key was answered."""
        ...

    async def keep_answer(self, key: str, answer: dict[str, object]) -> None:
        """Keep it for a month; it holds ids, never text."""
        ...
