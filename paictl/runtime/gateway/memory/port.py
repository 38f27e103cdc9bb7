"""The port of memory: what a record store, a vector index and an embedding must do, whatever software does it.

The store holds text and labels; an index holds numbers, vectors and scopes only, never text, because deleted text stayed
on the disk of every vector store that was measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Embedder", "Found", "NewRecord", "Record", "RecordStore", "Scope", "Unindexed", "VectorIndex"]

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


class VectorIndex(Protocol):
    """Vectors of one embedding identity, by the record's number."""

    async def put(self, rows: Sequence[tuple[int, Scope, Vector]]) -> None:
        """Add or replace."""
        ...

    async def nearest(self, vector: Vector, scopes: Sequence[Scope], most: int) -> list[int]:
        """The nearest records within these scopes, nearest first."""
        ...

    async def remove(self, numbers: Sequence[int]) -> None:
        """Erase, overwriting what was there; unknown numbers are fine."""
        ...

    async def drop(self) -> None:
        """Erase everything."""
        ...


class RecordStore(Protocol):
    """Records and their text index."""

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

    async def erase(self, numbers: Sequence[int]) -> list[str]:
        """Erase records for good, overwriting what was there; their ids."""
        ...

    async def counts(self) -> dict[str, int]:
        """Living records by space."""
        ...
