"""The embedded vector index: sqlite-vec tables beside the records, one pair for each embedding identity.

Lasting spaces are partitions of a ``vec0`` table (3 ms among 100,000). What lives for a conversation only is a few rows in
a plain table: a partition reserves room for a thousand vectors. Called by ``Memory`` only.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence

import apsw

from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.database import Database
from paictl.runtime.gateway.memory.port import Scope, Vector

__all__ = ["Catalog", "SqliteVectors"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS indexes (
  fingerprint TEXT PRIMARY KEY, name TEXT NOT NULL, dimension INTEGER NOT NULL, complete INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""


class SqliteVectors:
    """One index, behind the port."""

    def __init__(self, database: Database, name: str, dimension: int) -> None:
        self._database = database
        self._name = name
        self.dimension = dimension

    async def put(self, rows: Sequence[tuple[int, Scope, Vector]]) -> None:
        await self._database.run(self._put, [(number, scope, self._pack(vector)) for number, scope, vector in rows])

    async def nearest(self, vector: Vector, scopes: Sequence[Scope], most: int) -> list[int]:
        return await self._database.run(self._nearest, self._pack(vector), scopes, most)

    async def remove(self, numbers: Sequence[int]) -> None:
        await self._database.run(self._remove, numbers)

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
            table = f"{self._name}_brief" if scope.session else self._name
            connection.execute(
                f"INSERT INTO {table} (rowid, scope, embedding) VALUES (?, ?, ?)",  # noqa: S608 - a name of ours
                (number, scope.token, packed),
            )

    def _nearest(self, connection: apsw.Connection, packed: bytes, scopes: Sequence[Scope], most: int) -> list[int]:
        lasting = f"SELECT distance, rowid FROM {self._name} WHERE embedding MATCH ? AND scope = ? AND k = ?"  # noqa: S608 - a name of ours
        brief = (
            f"SELECT vec_distance_cosine(embedding, ?) AS distance, rowid FROM {self._name}_brief"  # noqa: S608 - a name of ours
            " WHERE scope = ? ORDER BY distance LIMIT ?"
        )
        found: list[tuple[float, int]] = []
        for scope in scopes:
            found += connection.execute(brief if scope.session else lasting, (packed, scope.token, most))
        return [number for _, number in sorted(found)[:most]]

    def _remove(self, connection: apsw.Connection, numbers: Sequence[int]) -> None:
        rows = [(number,) for number in numbers]
        for table in (self._name, f"{self._name}_brief"):
            connection.executemany(f"DELETE FROM {table} WHERE rowid = ?", rows)  # noqa: S608 - a name of ours

    def _drop(self, connection: apsw.Connection) -> None:
        connection.execute(f"DROP TABLE {self._name}; DROP TABLE {self._name}_brief")
        connection.execute("DELETE FROM indexes WHERE name = ?", (self._name,))

    def create(self, connection: apsw.Connection) -> None:
        """Make its tables."""
        connection.execute(
            f"CREATE VIRTUAL TABLE {self._name} USING vec0("
            f"scope TEXT PARTITION KEY, embedding FLOAT[{self.dimension}] DISTANCE_METRIC=cosine)"
        )
        connection.execute(
            f"CREATE TABLE {self._name}_brief (rowid INTEGER PRIMARY KEY, scope TEXT NOT NULL, embedding BLOB NOT NULL)"
        )
        connection.execute(f"CREATE INDEX {self._name}_brief_scope ON {self._name}_brief (scope)")


class Catalog:
    """Which indexes the file holds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self) -> None:
        await self._database.run(lambda connection: connection.execute(_SCHEMA))

    async def index(self, fingerprint: str, dimension: int) -> tuple[SqliteVectors, bool]:
        """The index of an embedding identity, made empty when it is new; and whether it was complete once."""
        return await self._database.run(self._index, fingerprint, dimension)

    async def others(self, fingerprint: str) -> list[SqliteVectors]:
        """The indexes of other embedding identities."""
        return await self._database.run(self._others, fingerprint)

    async def complete(self, fingerprint: str) -> None:
        """Every record is in it: recall may rely on it from now on."""
        await self._database.run(
            lambda connection: connection.execute(
                "UPDATE indexes SET complete = 1 WHERE fingerprint = ?", (fingerprint,)
            )
        )

    def _index(self, connection: apsw.Connection, fingerprint: str, dimension: int) -> tuple[SqliteVectors, bool]:
        row = connection.execute(
            "SELECT name, dimension, complete FROM indexes WHERE fingerprint = ?", (fingerprint,)
        ).fetchone()
        if row is not None:
            return SqliteVectors(self._database, row[0], row[1]), bool(row[2])
        name = "vectors_" + hashlib.sha256(fingerprint.encode()).hexdigest()[:12]
        index = SqliteVectors(self._database, name, dimension)
        index.create(connection)
        connection.execute(
            "INSERT INTO indexes (fingerprint, name, dimension) VALUES (?, ?, ?)", (fingerprint, name, dimension)
        )
        return index, False

    def _others(self, connection: apsw.Connection, fingerprint: str) -> list[SqliteVectors]:
        query = "SELECT name, dimension FROM indexes WHERE fingerprint != ?"
        return [SqliteVectors(self._database, row[0], row[1]) for row in connection.execute(query, (fingerprint,))]
