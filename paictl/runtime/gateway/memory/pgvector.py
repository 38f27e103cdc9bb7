"""The vector store in Postgres with pgvector: a table for each index, in a schema of our own. Exact search, within scopes.

Called by ``Indexing`` only. It never writes a text, touches nothing outside the schema ``paictl``, and builds no statement
from what others say: scopes, numbers and vectors are parameters.

Exact, without an HNSW graph: a scope is a few thousand rows, which Postgres reads in milliseconds through the index on scopes,
and nothing of what was removed stays in a graph.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

from paictl.runtime.config import StoreRoute
from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.memory.port import Scope, StoreUnavailable, Vector
from paictl.runtime.gateway.pgserver import PgServer, line

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

__all__ = ["PgStore", "PgVectors"]

_T = TypeVar("_T")
_SCHEMA = "paictl"
_CALL_SECONDS = 30.0
# A table of up to this many rows is rewritten after a removal, within a second on a small machine; nobody can ask it meanwhile.
_REWRITTEN_ROWS = 20_000
# A row must fit into its page of 8 KiB to be kept there; longer vectors go to a side table, where each read costs more.
_LONGEST_INLINE = 1900
# SQLSTATEs: undefined_file, feature_not_supported, insufficient_privilege.
_NO_EXTENSION = frozenset({"58P01", "0A000", "42501"})


class PgStore:
    """The store behind the port: one connection, made when it is needed, and made again when it broke."""

    engine = "pgvector"

    def __init__(self, route: StoreRoute) -> None:
        self.managed = route.managed
        self._server = PgServer(route.endpoint, route.managed, route.secret, route.hosts, "memory.store")
        self._where = self._server.where
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()

    async def create(self, name: str, dimension: int) -> PgVectors:
        index = PgVectors(self, name, dimension)
        await self.run(index.create)
        return index

    async def find(self, name: str, dimension: int) -> PgVectors | None:
        known = await self.run(lambda connection: _known(connection, name))
        return PgVectors(self, name, dimension) if known else None

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def run(self, work: Callable[[psycopg.AsyncConnection[Any]], Awaitable[_T]]) -> _T:
        """The result of some statements; each piece of work can be done twice. Raises ``StoreUnavailable``."""
        import psycopg

        async with self._turn:
            # A connection may have died since it was last used, with a server that is up again: that is no outage.
            for attempt in (1, 2):
                known = self._connection
                try:
                    async with asyncio.timeout(_CALL_SECONDS):
                        return await work(await self._connected())
                except psycopg.OperationalError as error:
                    await self._drop()
                    if attempt == 2 or known is None:
                        raise StoreUnavailable(f"pgvector at {self._where}: {line(error)}") from error
                except psycopg.Error as error:
                    await self._drop()
                    raise StoreUnavailable(f"pgvector at {self._where}: {line(error)}") from error
                except TimeoutError as error:
                    await self._drop()
                    raise StoreUnavailable(f"pgvector at {self._where} does not answer") from error
                except BaseException:
                    # Broken off in the middle of a statement: nobody knows what the connection would say next.
                    await self._drop()
                    raise
            raise AssertionError("the second attempt ends it")

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await self._connect()
        return self._connection

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        try:
            connection = await self._server.connect("paictl", autocommit=True)
        except ApiError as error:
            raise StoreUnavailable(f"pgvector at {self._where}: {error}") from error
        try:
            await _prepare(connection, managed=self.managed)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _drop(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


class PgVectors:
    """One index, behind the port."""

    def __init__(self, store: PgStore, name: str, dimension: int) -> None:
        self._store = store
        self._name = name
        # Unknown after a restart: then it is done once more.
        self._untidy = True
        self.dimension = dimension

    async def put(self, rows: Sequence[tuple[int, Scope, Vector]]) -> None:
        values = [(number, scope.token, self._text(vector)) for number, scope, vector in rows]
        statement = self._sql(
            "INSERT INTO {table} (number, scope, embedding) VALUES (%s, %s, %s)"
            " ON CONFLICT (number) DO UPDATE SET scope = excluded.scope, embedding = excluded.embedding"
        )

        async def work(connection: psycopg.AsyncConnection[Any]) -> None:
            async with connection.transaction(), connection.cursor() as cursor:
                await cursor.executemany(statement, values)

        await self._store.run(work)

    async def nearest(self, vector: Vector, scopes: Sequence[Scope], most: int) -> list[int]:
        statement = self._sql(
            "SELECT number FROM {table} WHERE scope = ANY(%s) ORDER BY embedding <=> %s, number LIMIT %s"
        )
        values = ([scope.token for scope in scopes], self._text(vector), most)

        async def work(connection: psycopg.AsyncConnection[Any]) -> list[int]:
            cursor = await connection.execute(statement, values)
            return [int(row[0]) for row in await cursor.fetchall()]

        return await self._store.run(work)

    async def remove(self, numbers: Sequence[int]) -> None:
        statement = self._sql("DELETE FROM {table} WHERE number = ANY(%s)")

        async def work(connection: psycopg.AsyncConnection[Any]) -> None:
            await connection.execute(statement, (list(numbers),))

        self._untidy = True
        await self._store.run(work)

    async def tidy(self) -> None:
        """A deleted row stays in its page, and its vector in the write-ahead log, until both are written anew."""
        if not self._untidy:
            return
        small = await self.count() <= _REWRITTEN_ROWS
        statement = self._sql("VACUUM FULL {table}") if small else self._sql("VACUUM {table}")

        async def work(connection: psycopg.AsyncConnection[Any]) -> None:
            await connection.execute(statement)
            if self._store.managed:
                # Another's log belongs to another. Ours begins a new file, and lets go of the old ones.
                await connection.execute("SELECT pg_switch_wal()")
                await connection.execute("CHECKPOINT")

        await self._store.run(work)
        self._untidy = False

    async def count(self) -> int:
        statement = self._sql("SELECT count(*) FROM {table}")

        async def work(connection: psycopg.AsyncConnection[Any]) -> int:
            row = await (await connection.execute(statement)).fetchone()
            return int(row[0]) if row else 0

        return await self._store.run(work)

    async def drop(self) -> None:
        statement = self._sql("DROP TABLE IF EXISTS {table}")

        async def work(connection: psycopg.AsyncConnection[Any]) -> None:
            await connection.execute(statement)

        await self._store.run(work)

    async def create(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Make its table."""
        from psycopg import sql

        async with connection.transaction():
            await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(_SCHEMA)))
            await connection.execute(
                self._sql(
                    "CREATE TABLE {table} (number bigint PRIMARY KEY, scope text NOT NULL, embedding vector({length}) NOT NULL)"
                )
            )
            await connection.execute(self._sql("CREATE INDEX ON {table} (scope)"))
            if self.dimension <= _LONGEST_INLINE:
                await connection.execute(self._sql("ALTER TABLE {table} ALTER embedding SET STORAGE plain"))

    def _sql(self, text: LiteralString) -> sql.Composed:
        from psycopg import sql

        table = sql.Identifier(_SCHEMA, self._name)
        return sql.SQL(text).format(table=table, length=sql.Literal(self.dimension))

    def _text(self, vector: Vector) -> str:
        if len(vector) != self.dimension:
            raise ApiError(502, "model_failed", f"the embedding has {len(vector)} numbers, the index {self.dimension}")
        return "[" + ",".join(map(repr, map(float, vector))) + "]"


async def _prepare(connection: psycopg.AsyncConnection[Any], *, managed: bool) -> None:
    """See to the extension and to where its type is found. Somebody else's database is given nothing but our schema."""
    import psycopg
    from psycopg import sql

    found = (
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
    )
    row = await (await connection.execute(found)).fetchone()
    if row is None and managed:
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.Error as error:
            if error.sqlstate not in _NO_EXTENSION:
                raise
            raise StoreUnavailable(f"this Postgres has no pgvector: {line(error)}") from error
        row = await (await connection.execute(found)).fetchone()
    if row is None:
        raise StoreUnavailable("the extension is not in this database; let its owner run: CREATE EXTENSION vector")
    path = sql.SQL("SET search_path TO {}, {}").format(sql.Identifier(_SCHEMA), sql.Identifier(str(row[0])))
    await connection.execute(path)


async def _known(connection: psycopg.AsyncConnection[Any], name: str) -> bool:
    query = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = %s"
    return await (await connection.execute(query, (_SCHEMA, name))).fetchone() is not None
