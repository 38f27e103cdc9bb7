"""Which vector indexes there are, and which of them hold every record: a table of the shared state."""

from __future__ import annotations

import uuid

from paictl.runtime.gateway.memory.catalog import Entry
from paictl.runtime.gateway.shared.postgres import Connection, Postgres

__all__ = ["SharedCatalog"]


class SharedCatalog:
    """The table of indexes, behind the same calls as that in a file."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def open(self) -> None:
        """The table is there: whoever opened the database made it."""

    async def entry(self, engine: str, fingerprint: str, dimension: int | None) -> Entry | None:
        return await self._postgres.run(_newest, engine, fingerprint, dimension)

    async def add(self, engine: str, fingerprint: str, dimension: int) -> Entry:
        return await self._postgres.run(
            _add, Entry(f"paictl_vectors_{uuid.uuid4().hex[:12]}", engine, fingerprint, dimension)
        )

    async def others(self, name: str) -> list[Entry]:
        return await self._postgres.run(_others, name)

    async def mark(self, name: str, *, complete: bool) -> None:
        await self._postgres.run(_mark, name, complete=complete)

    async def remove(self, name: str) -> None:
        await self._postgres.run(_remove, name)


async def _newest(connection: Connection, engine: str, fingerprint: str, dimension: int | None) -> Entry | None:
    rows = await connection.execute(
        "SELECT name, engine, fingerprint, dimension, complete FROM indexes"
        " WHERE engine = %(engine)s AND fingerprint = %(fingerprint)s"
        " AND dimension = coalesce(%(dimension)s, dimension) ORDER BY position DESC LIMIT 1",
        {"engine": engine, "fingerprint": fingerprint, "dimension": dimension},
    )
    row = await rows.fetchone()
    return Entry(*row) if row else None


async def _others(connection: Connection, name: str) -> list[Entry]:
    rows = await connection.execute(
        "SELECT name, engine, fingerprint, dimension, complete FROM indexes WHERE name != %s ORDER BY position", (name,)
    )
    return [Entry(*row) async for row in rows]


async def _add(connection: Connection, entry: Entry) -> Entry:
    await connection.execute(
        "INSERT INTO indexes (name, engine, fingerprint, dimension, complete) VALUES (%s, %s, %s, %s, %s)",
        (entry.name, entry.engine, entry.fingerprint, entry.dimension, entry.complete),
    )
    return entry


async def _mark(connection: Connection, name: str, *, complete: bool) -> None:
    await connection.execute("UPDATE indexes SET complete = %s WHERE name = %s", (complete, name))


async def _remove(connection: Connection, name: str) -> None:
    await connection.execute("DELETE FROM indexes WHERE name = %s", (name,))
