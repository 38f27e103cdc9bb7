"""The text index: FTS5 tables beside the records, one for each lasting space, one for everything that lives for a conversation.

BM25 counts each word of a question in the whole table before it ranks, so a table for each space is what keeps recall fast
among 100,000 memories. Functions over a connection, called by ``SqliteRecords`` in the database's thread.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import apsw

from paictl.runtime.gateway.memory.port import Scope

__all__ = ["add", "remove", "search"]

_BRIEF = "words_brief"
_MOST_WORDS = 24


def add(connection: apsw.Connection, number: int, text: str, scope: Scope) -> None:
    """Index the text of a record."""
    table = _table(scope)
    if not _exists(connection, table):
        _create(connection, table)
    connection.execute(f"INSERT INTO {table}(rowid, text, scope) VALUES (?, ?, ?)", (number, text, scope.token))  # noqa: S608 - a name of ours


def remove(connection: apsw.Connection, number: int, text: str, scope: Scope) -> None:
    """Take a record out; an index beside its content must be told what it had read."""
    table = _table(scope)
    command = f"INSERT INTO {table}({table}, rowid, text, scope) VALUES ('delete', ?, ?, ?)"  # noqa: S608 - a name of ours
    connection.execute(command, (number, text, scope.token))


def search(connection: apsw.Connection, text: str, scopes: Sequence[Scope], *, every: bool, most: int) -> list[int]:
    """Records that hold some or ``every`` word of a text, best first; ``most`` -1 is all of them."""
    words = list(dict.fromkeys(re.findall(r"[^\W_]+", text)))[:_MOST_WORDS]
    found: list[tuple[float, int]] = []
    for scope in scopes if words else ():
        table = _table(scope)
        if _exists(connection, table):
            wanted = (" AND " if every else " OR ").join(f'"{word}"' for word in words)
            match = f"text : ({wanted})" + (f" AND scope : {scope.token}" if scope.session else "")
            query = f"SELECT rank, rowid FROM {table} WHERE {table} MATCH ? ORDER BY rank LIMIT ?"  # noqa: S608 - a name of ours
            found += connection.execute(query, (match, most))
    ranked = [number for _, number in sorted(found)]
    return ranked if most < 0 else ranked[:most]


def _table(scope: Scope) -> str:
    return _BRIEF if scope.session else f"words_{scope.token}"


def _exists(connection: apsw.Connection, table: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone() is not None


def _create(connection: apsw.Connection, table: str) -> None:
    connection.execute(
        f"CREATE VIRTUAL TABLE {table} USING fts5(text, scope, content='records', content_rowid='number',"
        " tokenize='porter unicode61 remove_diacritics 2')"
    )
    connection.execute(f"INSERT INTO {table}({table}, rank) VALUES ('secure-delete', 1)")  # noqa: S608 - a name of ours
    connection.execute(f"INSERT INTO {table}({table}, rank) VALUES ('rank', 'bm25(1.0, 0.0)')")  # noqa: S608 - a name of ours
