"""The agent's state in Postgres: the way there through the gateway, whose turn it is to be the agent, and its schedules.

Imported only when the configuration names such a state. What DBOS writes there is sealed before it leaves this room
(``checkpoints.EncryptedJson``): the database carries what was said, and can't read it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from sqlalchemy import URL, Engine, create_engine

from paictl.runtime.config import AgentConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Tenure", "TableKept", "engine", "schema"]

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5
# A gateway that is being replaced, and a database that comes up last.
_PATIENCE_SECONDS, _AGAIN_SECONDS = 120.0, 0.5
_PULSE_SECONDS, _PULSE_ANSWER_SECONDS = 1.0, 2.0
# Longer than it takes whoever has the turn to notice that its connection is gone, and to make another.
_LEFT_SECONDS, _REGAIN_SECONDS = 6.0, 2.0


def schema(config: AgentConfig) -> str:
    """The agent's own part of the database; the gateway has made it."""
    return f"paictl_room_{config.agent.replace('-', '_')}"


def engine(config: AgentConfig, token: str) -> Engine:
    """What DBOS works on. The token is the gateway's business; the database never sees it."""
    url = URL.create("postgresql+psycopg", "agent", token, *_place(config), "paictl")
    return create_engine(
        url,
        pool_size=4,
        max_overflow=2,
        pool_pre_ping=True,
        # The way may lead to another gateway tomorrow: nothing is to be kept on one that is gone.
        pool_recycle=300,
        connect_args={"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": 10_000},
    )


def _place(config: AgentConfig) -> tuple[str, int]:
    kind, _, rest = config.state.partition(":")
    host, _, port = rest.rpartition(":")
    if kind != "tcp" or not port.isdigit():
        raise ValueError(f"not the address of a gateway's state: {config.state!r}; expected tcp:HOST:PORT")
    return host.strip("[]"), int(port)


class Tenure:
    """Being the agent: one at a time, over all replicas. Others stand by, and take over what the one before began."""

    def __init__(self, config: AgentConfig, token: str) -> None:
        self._place = _place(config)
        self._schema = schema(config)
        self._token = token
        self._held: psycopg.AsyncConnection[Any] | None = None

    async def begin(self) -> None:
        """Wait until nobody else is the agent. Raises ``ValueError`` when the database can't be reached for long."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                while not await self._take(wait=False):
                    log.info("another one is the agent; standing by")
                    await self._take(wait=True)
                    # It may only have lost its way: whoever lives takes its turn back before this one looks again.
                    await self._let_go()
                    await asyncio.sleep(_LEFT_SECONDS)
            except psycopg.Error as error:
                if time.monotonic() > deadline:
                    reason = " ".join(str(error).split())
                    raise ValueError(f"the state can't be reached through the gateway: {reason}") from error
                log.debug("waiting for the state: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    async def keep(self, stop: asyncio.Event) -> None:
        """See to it that the turn is still this one's, for ever; ``stop`` when it is another's."""
        while True:
            await asyncio.sleep(_PULSE_SECONDS)
            if not await self._beats() and not await self._regain():
                log.warning("another one is the agent now; leaving")
                stop.set()
                return

    async def _beats(self) -> bool:
        try:
            async with asyncio.timeout(_PULSE_ANSWER_SECONDS):
                if self._held is not None:
                    await self._held.execute("SELECT 1")
                    return True
        except (psycopg.Error, TimeoutError):
            pass
        return False

    async def _regain(self) -> bool:
        """The gateway that the way led through is gone, say. Nothing can be done in the meantime, so nothing is done twice."""
        deadline = None
        while True:
            # Whoever stands by holds it for a moment, to see that it is free.
            with contextlib.suppress(psycopg.Error):
                if await self._take(wait=False):
                    return True
                deadline = deadline or time.monotonic() + _REGAIN_SECONDS
                if time.monotonic() > deadline:
                    return False
            await asyncio.sleep(_PULSE_SECONDS / 4)

    async def _take(self, *, wait: bool) -> bool:
        """Have the turn until the connection ends; False when another has it, and this one does not wait."""
        await self._let_go()
        host, port = self._place
        connection = await psycopg.AsyncConnection.connect(
            host=host,
            port=port,
            user="agent",
            password=self._token,
            dbname="paictl",
            connect_timeout=_CONNECT_SECONDS,
            tcp_user_timeout=10_000,
        )
        try:
            table = sql.Identifier(self._schema, "tenure")
            await connection.execute("SET tcp_keepalives_idle = 2")
            await connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ()").format(table))
            await connection.commit()
            lock = "LOCK TABLE {} IN EXCLUSIVE MODE" if wait else "LOCK TABLE {} IN EXCLUSIVE MODE NOWAIT"
            await connection.execute(sql.SQL(lock).format(table))
        except psycopg.errors.LockNotAvailable:
            await connection.close()
            return False
        except BaseException:
            await connection.close()
            raise
        self._held = connection
        return True

    async def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            with contextlib.suppress(psycopg.Error):
                await held.close()


class TableKept:
    """How far the schedules have been served, in a table; behind the same calls as a file (``schedules.FileKept``)."""

    def __init__(self, engine: Engine, schema: str) -> None:
        self._engine = engine
        self._table = sql.Identifier(schema, "schedules").as_string()

    def read(self) -> Mapping[str, Any]:
        with self._engine.begin() as connection:
            connection.exec_driver_sql(
                f"CREATE TABLE IF NOT EXISTS {self._table} (one boolean PRIMARY KEY CHECK (one), kept jsonb NOT NULL)"
            )
            row = connection.exec_driver_sql(f"SELECT kept FROM {self._table}").fetchone()  # noqa: S608 - a name of ours
        return dict(row[0]) if row else {}

    def write(self, content: Mapping[str, Any]) -> None:
        with self._engine.begin() as connection:
            connection.exec_driver_sql(
                f"INSERT INTO {self._table} VALUES (true, %(kept)s) ON CONFLICT (one) DO UPDATE SET kept = excluded.kept",  # noqa: S608 - a name of ours
                {"kept": json.dumps(content)},
            )
