"""What was used up and what ran, counted over all gateways: one of them at a time, by the database's clock."""

from __future__ import annotations

import math
from collections.abc import Sequence

from paictl.runtime.gateway.ledger import Exhausted, Limit, Reservation, Run, Unit, window
from paictl.runtime.gateway.shared.postgres import Connection, Postgres, only, take

__all__ = ["SharedLedger"]


class SharedLedger:
    """The counters of one agent, behind the same calls as those in a file."""

    def __init__(self, postgres: Postgres, limits: Sequence[Limit]) -> None:
        self._postgres = postgres
        self._limits = tuple(limits)

    async def open(self) -> None:
        """The tables are there: whoever opened the database made them."""

    async def reserve(self, tokens: int) -> Reservation:
        """Count one call and its estimated tokens, or raise ``Exhausted`` and count nothing."""
        if not self._limits:
            return Reservation(tokens, 0.0)
        return await self._postgres.run(_reserve, self._limits, tokens)

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        """Replace the estimate by what was used."""
        difference = tokens - reservation.tokens
        if self._limits and difference:
            await self._postgres.run(_settle, self._limits, difference, reservation.at)

    async def note(self, run: Run) -> None:
        """What a run did; a later word about it replaces the earlier one."""
        await self._postgres.run(_note, run)

    async def runs(self, workflow: str, most: int = 50) -> list[dict[str, object]]:
        """The latest runs of a workflow, newest first."""
        return await self._postgres.run(_runs, workflow, most)

    def close(self) -> None:
        """The connections are closed by whoever opened them."""


async def _reserve(connection: Connection, limits: Sequence[Limit], tokens: int) -> Reservation:
    await take(connection, "ledger")
    (at,) = await only(await connection.execute("SELECT extract(epoch FROM clock_timestamp())::double precision"))
    for limit in limits:
        since = window(limit, at)
        wanted = 1 if limit.unit == "calls" else tokens
        if await _used(connection, limit, since) + wanted > limit.most:
            raise Exhausted(limit.rule, max(1, math.ceil(since + limit.period - at)))
    await _add(connection, limits, "calls", 1, at)
    await _add(connection, limits, "tokens", tokens, at)
    return Reservation(tokens, at)


async def _settle(connection: Connection, limits: Sequence[Limit], difference: int, at: float) -> None:
    await take(connection, "ledger")
    await _add(connection, limits, "tokens", difference, at)


async def _used(connection: Connection, limit: Limit, since: int) -> int:
    row = await (
        await connection.execute(
            "SELECT used FROM spent WHERE unit = %s AND period = %s AND since = %s", (limit.unit, limit.period, since)
        )
    ).fetchone()
    return int(row[0]) if row else 0


async def _add(connection: Connection, limits: Sequence[Limit], unit: Unit, count: int, at: float) -> None:
    for limit in limits:
        if limit.unit == unit:
            since = window(limit, at)
            used = max(0, await _used(connection, limit, since) + count)
            # An older window that is settled late must not put the current one back.
            await connection.execute(
                "INSERT INTO spent VALUES (%s, %s, %s, %s) ON CONFLICT (unit, period)"
                " DO UPDATE SET since = excluded.since, used = excluded.used WHERE spent.since <= excluded.since",
                (limit.unit, limit.period, since, used),
            )


async def _note(connection: Connection, run: Run) -> None:
    await connection.execute(
        "INSERT INTO runs VALUES (%(run)s, %(workflow)s, %(state)s, %(detail)s,"
        " extract(epoch FROM now()), extract(epoch FROM now()))"
        " ON CONFLICT (run) DO UPDATE SET state = excluded.state, detail = excluded.detail, changed = excluded.changed",
        {"run": run.run, "workflow": run.workflow, "state": run.state, "detail": run.detail},
    )


async def _runs(connection: Connection, workflow: str, most: int) -> list[dict[str, object]]:
    names = ("run", "state", "detail", "began", "changed")
    rows = await connection.execute(
        "SELECT run, state, detail, began, changed FROM runs WHERE workflow = %s ORDER BY began DESC LIMIT %s",
        (workflow, most),
    )
    return [dict(zip(names, row, strict=True)) async for row in rows]
