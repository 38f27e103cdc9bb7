"""The embedded vector store: sqlite-vec tables beside the records, one pair for each index.

Lasting spaces are partitions of a ``vec0`` table (3 ms among 100,000). What lives for a conversation only is a few rows in
a plain table: a partition reserves room for a thousand vectors. Called by ``Indexing`` only.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import apsw

from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.database import Database
from paictl.runtime.gateway.memory.port import Scope, Vector

__all__ = ["SqliteStore", "SqliteVectors"]


class SqliteVectors:
    """One index, behind the port."""

    def __init__(self, database: Database, name: str, dimension: int) -> None:
        self._database = database
        self.name = name
        self.dimension = dimension

    async def put(self, rows: Sequence[tuple[int, Scope, Vector]]) -> None:
        await self._database.run(self._put, [(number, scope, self._pack(vector)) for number, scope, vector in rows])

    async def nearest(self, vector: Vector, scopes: Sequence[Scope], most: int) -> list[int]:
        return await self._database.run(self._nearest, self._pack(vector), scopes, most)

    async def remove(self, numbers: Sequence[int]) -> None:
        await self._database.run(self._remove, numbers)

    async def count(self) -> int:
        return await self._database.run(self._count)

    async def tidy(self) -> None:
        """Nothing is left: ``secure_delete`` has overwritten it."""

    async def drop(self) -> None:
        await self._database.run(self._drop)
        await self._database.truncate_log()

    def _pack(self, vector: Vector) -> bytes:
        if len(vector) != self.dimension:
            raise ApiError(502, "model_failed", f"the embedding has {len(vector)} numbers, the index {self.dimension}")
        return array("f", vector).tobytes()

    def _put(self, connection: apsw.Connection, rows: Sequence[tuple[int, Scope, bytes]]) -> None:
        self._remove(connection, [row[0] for row in rows])
        for number, scope, packed in rows:
            table = f"{self.name}_brief" if scope.session else self.name
            connection.execute(
                f"INSERT INTO {table} (rowid, scope, embedding) VALUES (?, ?, ?)",  # noqa: S608 - a name of ours
                (number, scope.token, packed),
            )

    def _nearest(self, connection: apsw.Connection, packed: bytes, scopes: Sequence[Scope], most: int) -> list[int]:
        lasting = f"SELECT distance, rowid FROM {self.name} WHERE embedding MATCH ? AND scope = ? AND k = ?"  # noqa: S608 - a name of ours
        brief = (
            f"SELECT vec_distance_cosine(embedding, ?) AS distance, rowid FROM {self.name}_brief"  # noqa: S608 - a name of ours
            " WHERE scope = ? ORDER BY distance LIMIT ?"
        )
        found: list[tuple[float, int]] = []
        for scope in scopes:
            found += connection.execute(brief if scope.session else lasting, (packed, scope.token, most))
        return [number for _, number in sorted(found)[:most]]

    def _remove(self, connection: apsw.Connection, numbers: Sequence[int]) -> None:
        rows = [(number,) for number in numbers]
        for table in (self.name, f"{self.name}_brief"):
            connection.executemany(f"DELETE FROM {table} WHERE rowid = ?", rows)  # noqa: S608 - a name of ours

    def _drop(self, connection: apsw.Connection) -> None:
        connection.execute(f"DROP TABLE {self.name}; DROP TABLE {self.name}_brief")

    def _count(self, connection: apsw.Connection) -> int:
        query = f"SELECT (SELECT count(*) FROM {self.name}_rowids) + (SELECT count(*) FROM {self.name}_brief)"  # noqa: S608 - a name of ours
        return sum(int(row[0]) for row in connection.execute(query))

    def create(self, connection: apsw.Connection) -> None:
        """Make its tables."""
        connection.execute(
            f"CREATE VIRTUAL TABLE {self.name} USING vec0("
            f"scope TEXT PARTITION KEY, embedding FLOAT[{self.dimension}] DISTANCE_METRIC=cosine)"
        )
        connection.execute(
            f"CREATE TABLE {self.name}_brief (rowid INTEGER PRIMARY KEY, scope TEXT NOT NULL, embedding BLOB NOT NULL)"
        )
        connection.execute(f"CREATE INDEX {self.name}_brief_scope ON {self.name}_brief (scope)")


class SqliteStore:
    """The store behind the port, in the records' own file."""

    engine = "embedded"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, name: str, dimension: int) -> SqliteVectors:
        index = SqliteVectors(self._database, name, dimension)
        await self._database.run(index.create)
        return index

    async def find(self, name: str, dimension: int) -> SqliteVectors | None:
        known = await self._database.run(_exists, name)
        return SqliteVectors(self._database, name, dimension) if known else None

    async def close(self) -> None:
        """The file is closed by whoever opened it."""


def _exists(connection: apsw.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchone() is not None
