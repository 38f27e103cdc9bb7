"""The record store in Postgres: texts with their labels and time to live, and a list of who says which word.

Called by ``Memory`` only. Ranks by words as the embedded store does (BM25, Porter's stems), which Postgres' own ranking does
not: it knows nothing of how rare a word is. Whatever is erased is overwritten when the tables are ``tidy``.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from typing import LiteralString

from paictl.runtime.gateway.memory.port import NewRecord, Record, Scope, Unindexed
from paictl.runtime.gateway.shared.postgres import Connection, Postgres, only

__all__ = ["SharedRecords"]

_ANSWERS_KEPT_SECONDS = 30 * 86400
_MOST_WORDS = 24
# Tables of up to this many rows are rewritten after something was erased: within a second on a small machine.
_REWRITTEN_ROWS = 20_000
_TWICE = 2

_RANKED: LiteralString = """
WITH wanted AS (SELECT DISTINCT lexeme FROM unnest(to_tsvector('words', %(text)s))),
said AS (
  SELECT w.number, w.occurrences, r.length, count(*) OVER (PARTITION BY w.lexeme) AS records
  FROM words w JOIN wanted USING (lexeme) JOIN records r USING (number) WHERE w.scope = ANY(%(scopes)s)
),
alike AS (SELECT count(*) AS records, greatest(avg(length), 1) AS length FROM records WHERE scope = ANY(%(scopes)s))
SELECT s.number FROM said s, alike a GROUP BY s.number
ORDER BY sum(
  ln(1 + (a.records - s.records + 0.5) / (s.records + 0.5))
  * s.occurrences * 2.2 / (s.occurrences + 1.2 * (0.25 + 0.75 * s.length / a.length))
) DESC, s.number DESC LIMIT %(most)s
"""
"""BM25 with its usual constants, k1 1.2 and b 0.75, over the scopes that are asked."""

_CONTAINING: LiteralString = """
WITH wanted AS (SELECT DISTINCT lexeme FROM unnest(to_tsvector('words', %(text)s)))
SELECT w.number FROM words w JOIN wanted USING (lexeme) WHERE w.scope = ANY(%(scopes)s)
GROUP BY w.number HAVING count(*) = (SELECT count(*) FROM wanted) ORDER BY w.number
"""


class SharedRecords:
    """The store behind the port. ``records.embedding`` names the index that holds a record's vector."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        # Unknown after a restart: then it is done again; twice, for what somebody could still see the first time stays.
        self._untidy = _TWICE

    async def open(self) -> None:
        """The tables are there: whoever opened the database made them."""

    async def retain(self, space: str, seconds: int | None) -> None:
        await self._postgres.run(_retain, space, seconds)

    async def add(self, new: NewRecord) -> tuple[Record, bool]:
        return await self._postgres.run(_add, new)

    async def matching(self, text: str, scopes: Sequence[Scope], most: int) -> list[int]:
        asked = {"text": _spoken(text, _MOST_WORDS), "scopes": _tokens(scopes), "most": most}
        return await self._postgres.run(_numbers, _RANKED, asked)

    async def containing(self, text: str, scopes: Sequence[Scope]) -> list[int]:
        asked = {"text": _spoken(text, _MOST_WORDS), "scopes": _tokens(scopes)}
        return await self._postgres.run(_numbers, _CONTAINING, asked)

    async def fetch(self, numbers: Sequence[int], scopes: Sequence[Scope]) -> dict[int, Record]:
        return await self._postgres.run(_fetch, numbers, scopes)

    async def numbered(self, record_id: str, scopes: Sequence[Scope]) -> list[int]:
        query: LiteralString = "SELECT number FROM records WHERE id = %(id)s AND scope = ANY(%(scopes)s)"
        return await self._postgres.run(_numbers, query, {"id": record_id, "scopes": _tokens(scopes)})

    async def expired(self, now: float) -> list[int]:
        return await self._postgres.run(_numbers, "SELECT number FROM records WHERE expires <= %(now)s", {"now": now})

    async def of_session(self, session: str) -> list[int]:
        query: LiteralString = "SELECT number FROM records WHERE session = %(session)s AND session != ''"
        return await self._postgres.run(_numbers, query, {"session": session})

    async def existing(self, numbers: Sequence[int]) -> set[int]:
        query: LiteralString = "SELECT number FROM records WHERE number = ANY(%(numbers)s)"
        return set(await self._postgres.run(_numbers, query, {"numbers": list(numbers)}))

    async def erase(self, numbers: Sequence[int], *, owed: bool) -> list[str]:
        self._untidy = _TWICE
        return await self._postgres.run(_erase, list(numbers), owed=owed)

    async def prolong(self, session: str, expires: float) -> None:
        await self._postgres.run(_prolong, session, expires)

    async def counts(self) -> dict[str, int]:
        return await self._postgres.run(_counts, time.time())

    async def unindexed(self, index: str, most: int) -> list[Unindexed]:
        return await self._postgres.run(_unindexed, index, most)

    async def indexed(self, numbers: Sequence[int], index: str) -> None:
        await self._postgres.run(_indexed, list(numbers), index)

    async def indexed_count(self, index: str) -> int:
        query: LiteralString = "SELECT count(*) FROM records WHERE embedding = %(index)s"
        return (await self._postgres.run(_numbers, query, {"index": index}))[0]

    async def owed(self) -> list[int]:
        return await self._postgres.run(_numbers, "SELECT number FROM owed", {})

    async def settled(self, numbers: Sequence[int]) -> None:
        query: LiteralString = "DELETE FROM owed WHERE number = ANY(%(numbers)s) RETURNING number"
        await self._postgres.run(_numbers, query, {"numbers": list(numbers)})

    async def answered(self, key: str) -> dict[str, object] | None:
        return await self._postgres.run(_answered, key)

    async def keep_answer(self, key: str, answer: dict[str, object]) -> None:
        await self._postgres.run(_keep_answer, key, json.dumps(answer))

    async def tidy(self) -> None:
        """A deleted row stays in its page, and its text in the write-ahead log, until both are written anew."""
        if not self._untidy:
            return
        self._untidy -= 1
        try:
            rows = (await self._postgres.run(_numbers, "SELECT count(*) FROM words", {}))[0]
            if rows <= _REWRITTEN_ROWS * 10:
                await self._postgres.alone("VACUUM (FULL) records, words")
            else:
                await self._postgres.alone("VACUUM records, words")
            if self._postgres.server.managed:
                # Another's log belongs to another. Ours begins a new file, and lets go of the old ones.
                await self._postgres.alone("SELECT pg_switch_wal()")
                await self._postgres.alone("CHECKPOINT")
        except BaseException:
            self._untidy = _TWICE
            raise


def _spoken(text: str, most: int | None = None) -> str:
    """The words of a text, without marks and signs, so that the parser of Postgres finds nothing else in them."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one)).lower()
    words = re.findall(r"[^\W_]+", plain)
    return " ".join(list(dict.fromkeys(words))[:most] if most else words)


def _tokens(scopes: Sequence[Scope]) -> list[str]:
    return [scope.token for scope in scopes]


async def _add(connection: Connection, new: NewRecord) -> tuple[Record, bool]:
    token, digest, now = new.scope.token, hashlib.sha256(new.text.encode()).digest(), time.time()
    freshened = await connection.execute(
        "UPDATE records SET created = %s, expires = %s WHERE scope = %s AND digest = %s RETURNING number, id, text, space, created",
        (now, new.expires, token, digest),
    )
    known = await freshened.fetchone()
    record = Record(*known) if known else await _insert(connection, new, digest, now)
    if new.key:
        await _keep_answer(connection, new.key, json.dumps({"id": record.id, "space": record.space}))
    return record, known is None


async def _insert(connection: Connection, new: NewRecord, digest: bytes, now: float) -> Record:
    record_id, spoken = f"mem-{uuid.uuid4().hex}", _spoken(new.text)
    inserted = await connection.execute(
        "INSERT INTO records (id, text, digest, scope, space, session, created, expires, run, length)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING number, id, text, space, created",
        (
            record_id,
            new.text,
            digest,
            new.scope.token,
            new.scope.space,
            new.scope.session,
            now,
            new.expires,
            new.run,
            spoken.count(" ") + 1,
        ),
    )
    row = await only(inserted)
    await connection.execute(
        "INSERT INTO words SELECT %s, lexeme, %s, cardinality(positions) FROM unnest(to_tsvector('words', %s))",
        (new.scope.token, row[0], spoken),
    )
    return Record(*row)


async def _numbers(connection: Connection, query: LiteralString, bindings: Mapping[str, object]) -> list[int]:
    return [int(row[0]) async for row in await connection.execute(query, bindings)]


async def _fetch(connection: Connection, numbers: Sequence[int], scopes: Sequence[Scope]) -> dict[int, Record]:
    rows = await connection.execute(
        "SELECT number, id, text, space, created FROM records"
        " WHERE number = ANY(%s) AND scope = ANY(%s) AND (expires IS NULL OR expires > %s)",
        (list(numbers), _tokens(scopes), time.time()),
    )
    return {row[0]: Record(*row) async for row in rows}


async def _erase(connection: Connection, numbers: list[int], *, owed: bool) -> list[str]:
    rows = await connection.execute("DELETE FROM records WHERE number = ANY(%s) RETURNING id", (numbers,))
    erased = [str(row[0]) async for row in rows]
    if owed:
        await connection.execute("INSERT INTO owed SELECT unnest(%s::bigint[]) ON CONFLICT DO NOTHING", (numbers,))
    return erased


async def _prolong(connection: Connection, session: str, expires: float) -> None:
    statement: LiteralString = "UPDATE records SET expires = %s WHERE session = %s AND session != ''"
    await connection.execute(statement, (expires, session))


async def _retain(connection: Connection, space: str, seconds: int | None) -> None:
    # created + NULL is NULL: never. Rows that say so already are not written again.
    await connection.execute(
        "UPDATE records SET expires = created + %(seconds)s::integer WHERE space = %(space)s AND session = ''"
        " AND expires IS DISTINCT FROM created + %(seconds)s::integer",
        {"seconds": seconds, "space": space},
    )


async def _counts(connection: Connection, now: float) -> dict[str, int]:
    query: LiteralString = "SELECT space, count(*) FROM records WHERE expires IS NULL OR expires > %s GROUP BY space"
    return {row[0]: row[1] async for row in await connection.execute(query, (now,))}


async def _unindexed(connection: Connection, index: str, most: int) -> list[Unindexed]:
    query: LiteralString = (
        "SELECT number, text, space, session FROM records WHERE embedding != %s ORDER BY number LIMIT %s"
    )
    rows = await connection.execute(query, (index, most))
    return [Unindexed(row[0], row[1], Scope(row[2], row[3])) async for row in rows]


async def _indexed(connection: Connection, numbers: list[int], index: str) -> None:
    await connection.execute("UPDATE records SET embedding = %s WHERE number = ANY(%s)", (index, numbers))


async def _answered(connection: Connection, key: str) -> dict[str, object] | None:
    await connection.execute("DELETE FROM answers WHERE created < %s", (time.time() - _ANSWERS_KEPT_SECONDS,))
    row = await (await connection.execute("SELECT answer FROM answers WHERE key = %s", (key,))).fetchone()
    return dict(json.loads(row[0])) if row else None


async def _keep_answer(connection: Connection, key: str, answer: str) -> None:
    statement: LiteralString = "INSERT INTO answers VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
    await connection.execute(statement, (key, answer, time.time()))
