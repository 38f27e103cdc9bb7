"""Which vector indexes there are, and which of them hold every record: a table beside the records, whatever the engine.

An index's name is made once and never used again: one whose name its store does not know was lost, and is made anew.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Protocol

import apsw

from paictl.runtime.gateway.database import Database

__all__ = ["Catalog", "Entry", "Indexes"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS indexes (
  name TEXT PRIMARY KEY,
  engine TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  dimension INTEGER NOT NULL,
  complete INTEGER NOT NULL DEFAULT 0
);
"""
_COLUMNS = "name, engine, fingerprint, dimension, complete"


@dataclass(frozen=True, slots=True)
class Entry:
    """An index. ``complete``: every record was in it once, so that recall may rely on it."""

    name: str
    engine: str
    fingerprint: str
    dimension: int
    complete: bool = False


class Indexes(Protocol):
    """The table of indexes, wherever it is."""

    async def open(self) -> None:
        """Make or find it."""
        ...

    async def entry(self, engine: str, fingerprint: str, dimension: int | None) -> Entry | None:
        """The newest index of an embedding identity on an engine; of any length where that is not known."""
        ...

    async def add(self, engine: str, fingerprint: str, dimension: int) -> Entry:
        """Name a new index."""
        ...

    async def others(self, name: str) -> list[Entry]:
        """Every index but that one."""
        ...

    async def mark(self, name: str, *, complete: bool) -> None:
        """Whether every record is in it."""
        ...

    async def remove(self, name: str) -> None:
        """It is gone."""
        ...


class Catalog:
    """The table of indexes, in the records' own file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self) -> None:
        await self._database.run(_open)

    async def entry(self, engine: str, fingerprint: str, dimension: int | None) -> Entry | None:
        where = (
            "WHERE engine = ? AND fingerprint = ? AND dimension = coalesce(?, dimension) ORDER BY rowid DESC LIMIT 1"
        )
        found = await self._database.run(_entries, where, (engine, fingerprint, dimension))
        return found[0] if found else None

    async def add(self, engine: str, fingerprint: str, dimension: int) -> Entry:
        entry = Entry(f"paictl_vectors_{uuid.uuid4().hex[:12]}", engine, fingerprint, dimension)
        return await self._database.run(_add, entry)

    async def others(self, name: str) -> list[Entry]:
        return await self._database.run(_entries, "WHERE name != ?", (name,))

    async def mark(self, name: str, *, complete: bool) -> None:
        await self._database.run(_mark, name, complete=complete)

    async def remove(self, name: str) -> None:
        await self._database.run(_remove, name)


def _open(connection: apsw.Connection) -> None:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(indexes)")}
    # Before there were other engines, an index was known by its embedding identity alone, and so were its records.
    before = bool(columns) and "engine" not in columns
    if before:
        connection.execute("ALTER TABLE indexes RENAME TO indexes_before")
    connection.execute(_SCHEMA)
    if before:
        connection.execute(
            f"INSERT INTO indexes ({_COLUMNS}) SELECT name, 'embedded', fingerprint, dimension, complete FROM indexes_before"  # noqa: S608 - a constant
        )
        connection.execute("UPDATE records SET embedding = name FROM indexes_before WHERE embedding = fingerprint")
        connection.execute("DROP TABLE indexes_before")


def _entries(connection: apsw.Connection, where: str, bindings: tuple[object, ...]) -> list[Entry]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM indexes {where}", bindings)  # noqa: S608 - constants only
    return [Entry(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows]


def _add(connection: apsw.Connection, entry: Entry) -> Entry:
    values = (entry.name, entry.engine, entry.fingerprint, entry.dimension, entry.complete)
    connection.execute(f"INSERT INTO indexes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", values)  # noqa: S608 - a constant
    return entry


def _mark(connection: apsw.Connection, name: str, *, complete: bool) -> None:
    connection.execute("UPDATE indexes SET complete = ? WHERE name = ?", (complete, name))


def _remove(connection: apsw.Connection, name: str) -> None:
    connection.execute("DELETE FROM indexes WHERE name = ?", (name,))
