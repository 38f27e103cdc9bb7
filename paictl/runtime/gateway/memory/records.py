"""The record store in SQLite: texts with their labels and time to live, in one file with the indexes over them.

Called by ``Memory`` only. Whatever is erased is overwritten: ``secure_delete`` in the tables and in the text index, and the
write-ahead log is emptied after it.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Sequence

import apsw

from paictl.runtime.gateway.database import Database
from paictl.runtime.gateway.memory import words
from paictl.runtime.gateway.memory.port import NewRecord, Record, Scope, Unindexed

__all__ = ["SqliteRecords"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  text TEXT NOT NULL,
  digest BLOB NOT NULL,
  scope TEXT NOT NULL,
  space TEXT NOT NULL,
  session TEXT NOT NULL,
  created REAL NOT NULL,
  expires REAL,
  run TEXT NOT NULL,
  embedding TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX IF NOT EXISTS records_once ON records (scope, digest);
CREATE INDEX IF NOT EXISTS records_expiring ON records (expires) WHERE expires IS NOT NULL;
CREATE INDEX IF NOT EXISTS records_session ON records (session) WHERE session != '';
CREATE INDEX IF NOT EXISTS records_embedding ON records (embedding);
CREATE TABLE IF NOT EXISTS owed (number INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL, created REAL NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = "number, id, text, space, created"
_ANSWERS_KEPT_SECONDS = 30 * 86400


class SqliteRecords:
    """The store behind the port. ``records.embedding`` names the index that holds a record's vector."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self) -> None:
        await self._database.run(lambda connection: connection.execute(_SCHEMA))

    async def retain(self, space: str, seconds: int | None) -> None:
        await self._database.run(_retain, space, seconds)

    async def add(self, new: NewRecord) -> tuple[Record, bool]:
        return await self._database.run(_add, new)

    async def matching(self, text: str, scopes: Sequence[Scope], most: int) -> list[int]:
        return await self._database.run(words.search, text, scopes, every=False, most=most)

    async def containing(self, text: str, scopes: Sequence[Scope]) -> list[int]:
        return await self._database.run(words.search, text, scopes, every=True, most=-1)

    async def fetch(self, numbers: Sequence[int], scopes: Sequence[Scope]) -> dict[int, Record]:
        return await self._database.run(_fetch, numbers, scopes)

    async def numbered(self, record_id: str, scopes: Sequence[Scope]) -> list[int]:
        query = f"SELECT number FROM records WHERE id = ? AND scope IN ({_marks(scopes)})"  # noqa: S608 - marks only
        return await self._database.run(_numbers, query, (record_id, *(scope.token for scope in scopes)))

    async def expired(self, now: float) -> list[int]:
        return await self._database.run(_numbers, "SELECT number FROM records WHERE expires <= ?", (now,))

    async def of_session(self, session: str) -> list[int]:
        return await self._database.run(
            _numbers, "SELECT number FROM records WHERE session = ? AND session != ''", (session,)
        )

    async def existing(self, numbers: Sequence[int]) -> set[int]:
        query = f"SELECT number FROM records WHERE number IN ({_marks(numbers)})"  # noqa: S608 - marks only
        return set(await self._database.run(_numbers, query, tuple(numbers)))

    async def erase(self, numbers: Sequence[int], *, owed: bool) -> list[str]:
        erased = await self._database.run(_erase, numbers, owed=owed)
        if erased:
            await self._database.truncate_log()
        return erased

    async def prolong(self, session: str, expires: float) -> None:
        await self._database.run(_prolong, session, expires)

    async def counts(self) -> dict[str, int]:
        return await self._database.run(_counts, time.time())

    async def unindexed(self, index: str, most: int) -> list[Unindexed]:
        return await self._database.run(_unindexed, index, most)

    async def indexed(self, numbers: Sequence[int], index: str) -> None:
        await self._database.run(_indexed, numbers, index)

    async def indexed_count(self, index: str) -> int:
        return (await self._database.run(_numbers, "SELECT count(*) FROM records WHERE embedding = ?", (index,)))[0]

    async def owed(self) -> list[int]:
        return await self._database.run(_numbers, "SELECT number FROM owed", ())

    async def settled(self, numbers: Sequence[int]) -> None:
        query = f"DELETE FROM owed WHERE number IN ({_marks(numbers)}) RETURNING number"  # noqa: S608 - marks only
        await self._database.run(_numbers, query, tuple(numbers))

    async def tidy(self) -> None:
        """Nothing is left: ``secure_delete`` has overwritten it, and the log was emptied."""

    async def answered(self, key: str) -> dict[str, object] | None:
        return await self._database.run(_answered, key)

    async def keep_answer(self, key: str, answer: dict[str, object]) -> None:
        await self._database.run(_keep_answer, key, json.dumps(answer))


def _add(connection: apsw.Connection, new: NewRecord) -> tuple[Record, bool]:
    token, digest, now = new.scope.token, hashlib.sha256(new.text.encode()).digest(), time.time()
    freshened = f"UPDATE records SET created = ?, expires = ? WHERE scope = ? AND digest = ? RETURNING {_COLUMNS}"  # noqa: S608 - a constant
    known = list(connection.execute(freshened, (now, new.expires, token, digest)))
    if known:
        record = Record(*known[0])
    else:
        record_id = f"mem-{uuid.uuid4().hex}"
        values = (record_id, new.text, digest, token, new.scope.space, new.scope.session, now, new.expires, new.run)
        connection.execute(
            "INSERT INTO records (id, text, digest, scope, space, session, created, expires, run) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        number = connection.last_insert_rowid()
        words.add(connection, number, new.text, new.scope)
        record = Record(number, record_id, new.text, new.scope.space, now)
    if new.key:
        _keep_answer(connection, new.key, json.dumps({"id": record.id, "space": record.space}))
    return record, not known


def _numbers(connection: apsw.Connection, query: str, bindings: tuple[object, ...]) -> list[int]:
    return [int(row[0]) for row in connection.execute(query, bindings)]


def _fetch(connection: apsw.Connection, numbers: Sequence[int], scopes: Sequence[Scope]) -> dict[int, Record]:
    query = (
        f"SELECT {_COLUMNS} FROM records WHERE number IN ({_marks(numbers)}) AND scope IN ({_marks(scopes)})"  # noqa: S608 - marks only
        " AND (expires IS NULL OR expires > ?)"
    )
    bindings = (*numbers, *(scope.token for scope in scopes), time.time())
    return {row[0]: Record(*row) for row in connection.execute(query, bindings)}


def _erase(connection: apsw.Connection, numbers: Sequence[int], *, owed: bool) -> list[str]:
    erased: list[str] = []
    for number in numbers:
        row = connection.execute("SELECT id, text, space, session FROM records WHERE number = ?", (number,)).fetchone()
        if row is not None:
            words.remove(connection, number, str(row[1]), Scope(str(row[2]), str(row[3])))
            connection.execute("DELETE FROM records WHERE number = ?", (number,))
            erased.append(str(row[0]))
    if owed:
        connection.executemany("INSERT OR IGNORE INTO owed VALUES (?)", [(number,) for number in numbers])
    return erased


def _prolong(connection: apsw.Connection, session: str, expires: float) -> None:
    connection.execute("UPDATE records SET expires = ? WHERE session = ? AND session != ''", (expires, session))


def _retain(connection: apsw.Connection, space: str, seconds: int | None) -> None:
    # created + NULL is NULL: never.
    connection.execute("UPDATE records SET expires = created + ? WHERE space = ? AND session = ''", (seconds, space))


def _counts(connection: apsw.Connection, now: float) -> dict[str, int]:
    query = "SELECT space, count(*) FROM records WHERE expires IS NULL OR expires > ? GROUP BY space"
    return {row[0]: row[1] for row in connection.execute(query, (now,))}


def _unindexed(connection: apsw.Connection, index: str, most: int) -> list[Unindexed]:
    query = "SELECT number, text, space, session FROM records WHERE embedding != ? ORDER BY number LIMIT ?"
    return [Unindexed(row[0], row[1], Scope(row[2], row[3])) for row in connection.execute(query, (index, most))]


def _indexed(connection: apsw.Connection, numbers: Sequence[int], index: str) -> None:
    rows = [(index, number) for number in numbers]
    connection.executemany("UPDATE records SET embedding = ? WHERE number = ?", rows)


def _answered(connection: apsw.Connection, key: str) -> dict[str, object] | None:
    connection.execute("DELETE FROM answers WHERE created < ?", (time.time() - _ANSWERS_KEPT_SECONDS,))
    row = connection.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
    return dict(json.loads(row[0])) if row else None


def _keep_answer(connection: apsw.Connection, key: str, answer: str) -> None:
    connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", (key, answer, time.time()))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
