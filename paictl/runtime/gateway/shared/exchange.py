"""What the gateways of one agent tell each other, and which of them are alive; through the database that they share.

Each holds one connection that listens. Its name there is what the others know it by, and is gone when it is: the server
notices the end of a process at once. Only gateways have the role that these names count for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

import psycopg
from psycopg import sql

from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.shared.postgres import Connection, Postgres

__all__ = ["Exchange"]

# With the longest name of a schema, a connection's name is as long as it may be.
_NUMBERS = 10**9
_AGAIN_SECONDS = 0.5
_log = logging.getLogger("paictl.gateway")


class Exchange:
    """The ear of a gateway, and its number."""

    def __init__(self, postgres: Postgres) -> None:
        self.number = random.SystemRandom().randrange(1, _NUMBERS)
        self._postgres = postgres
        self._hearing: dict[str, Callable[[str], object]] = {}
        self._gaps: list[Callable[[], None]] = []
        self._listening: asyncio.Task[None] | None = None
        self._saying: set[asyncio.Task[None]] = set()

    def hear(self, word: str, told: Callable[[str], object]) -> None:
        """Call it with the rest of each message that begins with a word and is for everybody or for this gateway."""
        self._hearing[word] = told

    def after_gap(self, missed: Callable[[], None]) -> None:
        """Call it when something may have been said while nobody listened."""
        self._gaps.append(missed)

    async def open(self) -> None:
        """Listen from now on."""
        first = await self._ear()
        self._listening = asyncio.create_task(self._listen(first))

    async def close(self) -> None:
        """Listen no more: for the others this gateway is gone."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    async def tell(self, connection: Connection, word: str, rest: str = "", *, to: int = 0) -> None:
        """Say something when the transaction ends, to one gateway or to all."""
        message = f"{word} {to} {rest}"
        await connection.execute("SELECT pg_notify(current_schema(), %s)", (message,))

    def say_soon(self, word: str) -> None:
        """Say something to all; when it can't be said now, nobody loses more than time."""

        async def say() -> None:
            with contextlib.suppress(ApiError):
                await self._postgres.run(self.tell, word)

        task = asyncio.create_task(say())
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)

    async def alive(self) -> set[int]:
        """The numbers of all gateways."""
        return await self._postgres.run(_alive)

    async def leads(self) -> bool:
        """Whether this gateway does what only one has to: the one with the smallest number."""
        return min(await self.alive(), default=self.number) >= self.number

    async def _ear(self) -> Connection:
        connection = await self._postgres.connection(f"{self._postgres.schema} {self.number}")
        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._postgres.schema)))
        return connection

    async def _listen(self, connection: Connection) -> None:
        while True:
            try:
                async with connection:
                    async for notice in connection.notifies():
                        self._pass_on(notice.payload)
            except psycopg.Error:
                _log.warning("the connection that listens to the other gateways is gone; making a new one")
            connection = await self._again()
            for missed in self._gaps:
                missed()

    async def _again(self) -> Connection:
        while True:
            await asyncio.sleep(_AGAIN_SECONDS)
            try:
                return await self._ear()
            except (psycopg.Error, ApiError):
                continue

    def _pass_on(self, message: str) -> None:
        word, _, rest = message.partition(" ")
        to, _, rest = rest.partition(" ")
        told = self._hearing.get(word)
        if told is not None and to in {"0", str(self.number)}:
            told(rest)


async def _alive(connection: Connection) -> set[int]:
    return {int(row[0]) async for row in await connection.execute("SELECT number FROM alive")}
