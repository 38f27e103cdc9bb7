"""What was used up and what ran: budgets as atomic counters and the runs of workflows, in SQLite, so both survive a restart.

A budget counts in fixed windows (a day begins at midnight UTC). Tokens are reserved before a call, from an estimate, and
settled after it; a crash in between leaves the estimate counted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import apsw

from paictl.manifest.models import Budget
from paictl.manifest.quantities import parse_rate
from paictl.runtime.gateway.database import Database

__all__ = ["Exhausted", "Ledger", "Limit", "Reservation", "Run", "Unit", "limits", "window"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (unit TEXT, period INTEGER, since INTEGER, used INTEGER, PRIMARY KEY (unit, period)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
  run TEXT PRIMARY KEY, workflow TEXT NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL, began REAL NOT NULL, changed REAL NOT NULL
) WITHOUT ROWID;
"""

Unit = Literal["calls", "tokens"]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``most`` of a unit in ``period`` seconds; ``rule`` is its line in the manifest."""

    unit: Unit
    most: int
    period: int
    rule: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a call was let in with."""

    tokens: int
    at: float


@dataclass(eq=False)
class Exhausted(Exception):
    """A budget has nothing left until ``retry_after`` seconds have passed."""

    rule: str
    retry_after: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a workflow, as the agent told it."""

    workflow: str
    run: str
    state: str
    detail: str


def limits(budget: Budget) -> list[Limit]:
    """The countable limits of a manifest."""
    units: tuple[tuple[Unit, str | None], ...] = (("calls", budget.calls), ("tokens", budget.tokens))
    return [
        Limit(unit, *parse_rate(rate), rule=f"spec.permissions.budget.{unit}: {rate}")
        for unit, rate in units
        if rate is not None
    ]


class Ledger:
    """The counters of one agent."""

    def __init__(self, path: Path, limits: Sequence[Limit]) -> None:
        self._database = Database(path)
        self._limits = tuple(limits)

    async def open(self) -> None:
        await self._database.run(lambda connection: connection.execute(_SCHEMA))

    async def reserve(self, tokens: int) -> Reservation:
        """Count one call and its estimated tokens, or raise ``Exhausted`` and count nothing."""
        at = time.time()
        if self._limits:
            await self._database.run(_reserve, self._limits, tokens, at)
        return Reservation(tokens, at)

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        """Replace the estimate by what was used."""
        difference = tokens - reservation.tokens
        if self._limits and difference:
            await self._database.run(_add, self._limits, "tokens", difference, reservation.at)

    async def note(self, run: Run) -> None:
        """What a run did; a later word about it replaces the earlier one."""
        await self._database.run(_note, run)

    async def runs(self, workflow: str, most: int = 50) -> list[dict[str, object]]:
        """The latest runs of a workflow, newest first."""
        return await self._database.run(_runs, workflow, most)

    def close(self) -> None:
        self._database.close()


def _used(connection: apsw.Connection, limit: Limit, since: int) -> int:
    query = "SELECT used FROM spent WHERE unit = ? AND period = ? AND since = ?"
    row = connection.execute(query, (limit.unit, limit.period, since)).fetchone()
    return int(row[0]) if row else 0


def _reserve(connection: apsw.Connection, limits: Sequence[Limit], tokens: int, at: float) -> None:
    for limit in limits:
        since = window(limit, at)
        wanted = 1 if limit.unit == "calls" else tokens
        used = _used(connection, limit, since)
        if used + wanted > limit.most:
            raise Exhausted(limit.rule, max(1, math.ceil(since + limit.period - at)))
    _add(connection, limits, "calls", 1, at)
    _add(connection, limits, "tokens", tokens, at)


def _add(connection: apsw.Connection, limits: Sequence[Limit], unit: Unit, count: int, at: float) -> None:
    for limit in limits:
        if limit.unit == unit:
            since = window(limit, at)
            used = max(0, _used(connection, limit, since) + count)
            # An older window that is settled late must not put the current one back.
            connection.execute(
                "INSERT INTO spent VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET since = ?3, used = ?4 WHERE since <= ?3",
                (limit.unit, limit.period, since, used),
            )


def window(limit: Limit, at: float) -> int:
    """When the present period of a limit began."""
    return int(at) - int(at) % limit.period


def _note(connection: apsw.Connection, run: Run) -> None:
    now = time.time()
    connection.execute(
        "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO UPDATE SET state = ?3, detail = ?4, changed = ?5",
        (run.run, run.workflow, run.state, run.detail, now),
    )


def _runs(connection: apsw.Connection, workflow: str, most: int) -> list[dict[str, object]]:
    query = "SELECT run, state, detail, began, changed FROM runs WHERE workflow = ? ORDER BY began DESC LIMIT ?"
    names = ("run", "state", "detail", "began", "changed")
    return [dict(zip(names, row, strict=True)) for row in connection.execute(query, (workflow, most))]
