"""The database that all gateways of one agent share: a few connections, and functions run in transactions on them.

The rooms beside this file call ``run``; nobody else sees a connection. A table that nobody writes to stands for each turn
that gateways take: whoever holds its lock may read and write what belongs together. No advisory locks: every role of the
database could take those, and the agent has one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, LiteralString, ParamSpec, TypeVar

import psycopg
from psycopg import sql

from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.pgserver import PgServer, line
from paictl.runtime.gateway.shared.schema import make

__all__ = ["Connection", "Postgres", "Turn", "only", "take"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CONNECTIONS = 6
_CALL_SECONDS = 30.0
# After a restart of everything the database may come up last.
_PATIENCE_SECONDS, _AGAIN_SECONDS = 60.0, 0.5
# SQLSTATE classes that no waiting mends: a wrong password, a missing database, no rights.
_FINAL = ("28", "3D", "42")
_log = logging.getLogger("paictl.gateway")

Connection = psycopg.AsyncConnection[Any]


class Postgres:
    """``run`` calls a function with a connection, inside one transaction. All other errors than its own are ``ApiError`` 503."""

    def __init__(self, server: PgServer, agent: str) -> None:
        word = agent.replace("-", "_")
        self.server = server
        self.schema = f"paictl_state_{word}"
        self.room = f"paictl_room_{word}"
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(_CONNECTIONS)
        self._closed = False

    async def open(self, room_password: str) -> None:
        """Wait for the database, then make what it lacks: one gateway does, others wait. Raises ``ValueError`` if it never can."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                async with await self.server.connect("paictl gateway", autocommit=True) as connection:
                    await make(connection, self.schema, self.room, room_password, managed=self.server.managed)
            except psycopg.Error as error:
                if (error.sqlstate or "").startswith(_FINAL) or time.monotonic() > deadline:
                    raise ValueError(f"the state can't be kept in Postgres at {self._where}: {line(error)}") from error
                await asyncio.sleep(_AGAIN_SECONDS)
            except ApiError as error:
                raise ValueError(f"the state can't be kept in Postgres at {self._where}: {error}") from error
            else:
                return

    async def run(
        self, work: Callable[Concatenate[Connection, _P], Awaitable[_T]], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """The function's result. Its writes are whole or not at all; it may be called twice when a connection had died before."""
        async with self._free:
            while True:
                known, committing = bool(self._idle), False
                connection = await self._taken()
                try:
                    async with asyncio.timeout(_CALL_SECONDS):
                        result = await work(connection, *args, **kwargs)
                        committing = True
                        await connection.commit()
                except psycopg.OperationalError as error:
                    await connection.close()
                    if known and not committing:
                        # It died with a server that is up again: that is no outage.
                        continue
                    raise self._unavailable(line(error)) from error
                except psycopg.Error as error:
                    await connection.close()
                    raise self._unavailable(line(error)) from error
                except TimeoutError as error:
                    await connection.close()
                    raise self._unavailable("no answer") from error
                except Exception:
                    await self._undo(connection)
                    raise
                except BaseException:
                    # Broken off in the middle of a statement: nobody knows what the connection would say next.
                    await connection.close()
                    raise
                await self._put_back(connection)
                return result

    async def alone(self, statement: LiteralString) -> None:
        """A statement that no transaction may hold, such as VACUUM."""
        try:
            async with await self.connection("paictl gateway") as connection:
                await connection.execute(statement)
        except psycopg.Error as error:
            raise self._unavailable(line(error)) from error

    async def connection(self, name: str) -> Connection:
        """A connection of one's own, without transactions; raises ``psycopg.Error`` and ``ApiError``."""
        connection = await self.server.connect(name, autocommit=True)
        try:
            # A gateway whose machine is gone must not hold up the others.
            await connection.execute("SET tcp_keepalives_idle = 5")
            await connection.execute("SET tcp_keepalives_interval = 2")
            await connection.execute("SET tcp_keepalives_count = 3")
            await connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(self.schema)))
        except BaseException:
            await connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Let go of every connection."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def hold(self, name: LiteralString) -> Connection:
        """A connection that has the turn of that name, until its transaction ends; for ``Turn`` alone."""
        while True:
            known = bool(self._idle)
            connection = await self._taken()
            try:
                async with asyncio.timeout(_CALL_SECONDS):
                    await take(connection, name)
            except (psycopg.Error, TimeoutError) as error:
                await connection.close()
                if known and isinstance(error, psycopg.OperationalError):
                    continue
                raise self._unavailable(line(error)) from error
            except BaseException:
                await connection.close()
                raise
            return connection

    async def let_go(self, connection: Connection) -> None:
        """Its turn is over."""
        await self._undo(connection)

    @property
    def _where(self) -> str:
        return self.server.where

    async def _taken(self) -> Connection:
        if self._idle:
            return self._idle.pop()
        try:
            connection = await self.connection("paictl gateway")
            await connection.set_autocommit(False)
        except psycopg.Error as error:
            raise self._unavailable(line(error)) from error
        except ApiError as error:
            raise self._unavailable(str(error)) from error
        return connection

    async def _undo(self, connection: Connection) -> None:
        try:
            await connection.rollback()
        except psycopg.Error:
            await connection.close()
        else:
            await self._put_back(connection)

    async def _put_back(self, connection: Connection) -> None:
        if self._closed:
            await connection.close()
        else:
            self._idle.append(connection)

    def _unavailable(self, reason: str) -> ApiError:
        return ApiError(503, "storage_unavailable", f"Postgres at {self._where} can't be written or read: {reason}")


async def only(cursor: psycopg.AsyncCursor[Any]) -> tuple[Any, ...]:
    """The row of a statement that always gives one."""
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("a statement of ours gave no row")
    return tuple(row)


async def take(connection: Connection, name: LiteralString) -> None:
    """Wait for a turn; it lasts until the transaction ends. It takes no transaction number, so that no vacuum waits for it."""
    await connection.execute(f"LOCK TABLE turn_{name} IN EXCLUSIVE MODE")


class Turn:
    """One at a time over all gateways: ``async with turn``. In this process those who wait do so without a connection."""

    def __init__(self, postgres: Postgres, name: LiteralString) -> None:
        self._postgres = postgres
        self._name = name
        self._mine = asyncio.Lock()
        self._held: Connection | None = None

    async def __aenter__(self) -> None:
        await self._mine.acquire()
        try:
            self._held = await self._postgres.hold(self._name)
        except BaseException:
            self._mine.release()
            raise

    async def __aexit__(self, *raised: object) -> None:
        held, self._held = self._held, None
        try:
            if held is not None:
                with contextlib.suppress(ApiError):
                    await self._postgres.let_go(held)
        finally:
            self._mine.release()
