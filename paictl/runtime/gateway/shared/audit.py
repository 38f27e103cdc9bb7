"""The audit log of several gateways: one chain in the database, which they lengthen in turns.

What is to be written meanwhile is written together in one transaction, so a turn costs the same for one record and for fifty.
A decision is on the server's disk before its call goes on; an effect follows within milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from paictl.runtime.gateway.answers import ApiError
from paictl.runtime.gateway.audit import Call, Entry, Form, chained, refused
from paictl.runtime.gateway.chain import GENESIS, canonical
from paictl.runtime.gateway.identity import Identity
from paictl.runtime.gateway.metrics import Metrics
from paictl.runtime.gateway.policy import Verdict
from paictl.runtime.gateway.shared.postgres import Connection, Postgres, take

__all__ = ["SharedAudit"]

_SECONDS = 1.0
_log = logging.getLogger("paictl.gateway")

_Written = tuple[dict[str, Any], "asyncio.Future[int]"]


class SharedAudit:
    """The log behind the same calls as that in a file."""

    def __init__(self, postgres: Postgres, identity: Identity, metrics: Metrics) -> None:
        self._postgres = postgres
        self._metrics = metrics
        self._form = Form(identity)
        self._waiting: list[_Written] = []
        self._writing: asyncio.Task[None] | None = None
        self._unsigned = True

    async def open(self) -> None:
        """Find where it ends. Raises ``ValueError`` when it was cut."""
        (seq, _), signed = await self._postgres.run(_ends)
        if signed > seq:
            raise ValueError(
                f"the audit log ends at record {seq}, but record {signed} was signed: it was cut. Keep the tables audit and "
                f"audit_checkpoints of {self._postgres.schema} as evidence and empty both to begin a new log."
            )

    async def admit(self, call: Call, verdict: Verdict, refusal: ApiError | None = None) -> Entry:
        """Write the decision; then let the call go on or refuse it (403, or as told), or refuse it because it can't be written (503)."""
        try:
            seq = await self._write(self._form.decision(call, verdict))
        except ApiError as error:
            self._metrics.refused("audit_unavailable")
            _log.error("the audit log can't be written: %s", error)
            raise ApiError(503, "audit_unavailable", "the audit log can't be written, so nothing is done") from error
        if not verdict.allowed:
            raise refused(verdict, refusal, self._metrics)
        return Entry(self, call, seq)

    def effect(self, entry: Entry, outcome: str, facts: Mapping[str, object]) -> None:
        """Have written what came of a call; it has happened already, so a failure is logged and refuses the next one."""
        written = self._write(self._form.effect(entry, outcome, facts))

        def told(done: asyncio.Future[int]) -> None:
            if not done.cancelled() and done.exception() is not None:
                _log.error("the effect of record %d could not be written: %s", entry.decision, done.exception())

        written.add_done_callback(told)

    async def keep_signed(self) -> None:
        """Sign where the chain stands, a second after something was written, for ever."""
        while True:
            await asyncio.sleep(_SECONDS)
            await self._sign()

    async def end(self) -> None:
        """Write what waits, and sign it."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])
        await self._sign()

    async def _sign(self) -> None:
        if not self._unsigned:
            return
        self._unsigned = False
        try:
            await self._postgres.run(_sign, self._form)
        except ApiError as error:
            self._unsigned = True
            _log.error("the audit log can't be signed: %s", error)

    def _write(self, record: dict[str, Any]) -> asyncio.Future[int]:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        return done

    async def _write_all(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting, []
            try:
                last = await self._postgres.run(_append, [record for record, _ in together])
            except ApiError as error:
                for _, done in together:
                    if not done.done():
                        done.set_exception(error)
                continue
            self._unsigned = True
            for position, (_, done) in enumerate(reversed(together)):
                if not done.done():
                    done.set_result(last - position)


async def _append(connection: Connection, records: Sequence[dict[str, Any]]) -> int:
    await take(connection, "audit")
    (seq, head), _ = await _ends(connection)
    lines = []
    for record in records:
        chained(record, seq, head)
        seq, head = record["seq"], record["hash"]
        lines.append((seq, canonical(record).decode()))
    async with connection.cursor() as cursor:
        await cursor.executemany("INSERT INTO audit VALUES (%s, %s)", lines)
    return seq


async def _sign(connection: Connection, form: Form) -> None:
    await take(connection, "audit")
    (seq, head), signed = await _ends(connection)
    if seq > signed:
        line = form.stamp(seq, head).decode()
        await connection.execute("INSERT INTO audit_checkpoints VALUES (%s, %s)", (seq, line))


async def _ends(connection: Connection) -> tuple[tuple[int, str], int]:
    """The last record's number and hash, and the last number that was signed."""
    last = await (await connection.execute("SELECT record FROM audit ORDER BY seq DESC LIMIT 1")).fetchone()
    signed = await (await connection.execute("SELECT max(seq) FROM audit_checkpoints")).fetchone()
    record = json.loads(last[0]) if last else None
    at = (int(record["seq"]), str(record["hash"])) if record else (0, GENESIS)
    return at, int(signed[0] or 0) if signed else 0
