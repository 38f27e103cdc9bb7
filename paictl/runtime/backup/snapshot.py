"""A consistent copy of live data: SQLite databases as they were at one moment, every other file after them. Called by ``sets``.

Never copies a database's file while somebody may write to it, and never writes to what it copies.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Copied", "snapshot"]

_MAGIC = b"SQLite format 3\0"
# What SQLite keeps beside a database; the copy holds all that is in them.
_BESIDE = ("-wal", "-shm", "-journal")
_BUSY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Copied:
    """One file of a set: where it belongs, relative to the agent's directory, and what it is."""

    path: str
    size: int
    mode: int
    sha256: str


def snapshot(base: Path, folders: Sequence[str], staging: Path) -> Iterator[Copied]:
    """Copy the folders of ``base`` to ``staging``, and yield what was copied, databases first.

    In the order given: whoever asks comes before whoever answers, so that nothing is remembered as done by the one of which
    the other knows nothing. Raises ``OSError`` and ``sqlite3.Error``.
    """
    found = [path for folder in folders for path in _files(base / folder)]
    databases = [path for path in found if _is_database(path)]
    beside = {path.with_name(path.name + end) for path in databases for end in _BESIDE}
    with ExitStack() as stack:
        # All of them within milliseconds: what a reader saw once it goes on seeing until it ends, whatever is written meanwhile.
        pinned = [(path, stack.enter_context(closing(_pin(path)))) for path in databases]
        for path, connection in pinned:
            yield _copied(base, path, staging, connection)
    for path in found:
        if path not in beside and path not in databases:
            yield _copied(base, path, staging, None)


def _files(folder: Path) -> list[Path]:
    """Regular files, those first whose names extend another's: signed checkpoints must not tell of more than their log holds."""
    inside = (Path(where) / name for where, _, names in os.walk(folder) for name in names)
    return sorted((path for path in inside if path.is_file() and not path.is_symlink()), reverse=True)


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        begin = file.read(len(_MAGIC))
    return begin == _MAGIC or (not begin and path.with_name(path.name + "-wal").exists())


def _pin(path: Path) -> sqlite3.Connection:
    # Autocommit, so that this transaction is the one that everything below reads in.
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _copied(base: Path, path: Path, staging: Path, connection: sqlite3.Connection | None) -> Copied:
    relative = path.relative_to(base)
    copy = staging / relative
    copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if connection is None:
        shutil.copyfile(path, copy)
    else:
        with closing(sqlite3.connect(copy)) as to:
            connection.backup(to)
            # A database of its own, without a log beside it.
            to.execute("PRAGMA journal_mode=DELETE")
    with copy.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Copied(relative.as_posix(), copy.stat().st_size, path.stat().st_mode & 0o777, digest)
