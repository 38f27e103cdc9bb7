"""A SQLite file with one connection and one thread of its own: whatever touches it waits its turn off the event loop."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from paictl.runtime.gateway.answers import ApiError

__all__ = ["Database", "connect"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

# secure_delete overwrites what is deleted; temp_store keeps sorting out of the file system; a single connection means that
# a truncating checkpoint never waits for a reader.
_DISK = (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError, apsw.CorruptError)
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA secure_delete=ON",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-8192",
    "PRAGMA busy_timeout=5000",
)


def connect(path: Path, *, vectors: bool = False, lasting: bool = False) -> apsw.Connection:
    """Open a file with the settings that everything here relies on; ``vectors`` loads sqlite-vec.

    Whatever happens to the power, the file stays whole. With ``lasting``, nothing that was answered for is lost with it either:
    every transaction waits for the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    connection = apsw.Connection(str(path))
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    connection.execute(f"PRAGMA synchronous={'FULL' if lasting else 'NORMAL'}")
    if vectors:
        connection.enable_load_extension(True)
        connection.load_extension(_vec0())
        connection.enable_load_extension(False)
    return connection


class Database:
    """``run`` calls a function with the connection, in the file's own thread, inside one transaction.

    Raises ``ValueError`` when the file can't be opened.
    """

    def __init__(self, path: Path, *, vectors: bool = False, lasting: bool = False) -> None:
        self._name = path.name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=path.stem)
        try:
            self._connection = self._thread.submit(connect, path, vectors=vectors, lasting=lasting).result()
        except apsw.Error as error:
            raise ValueError(f"{path} can't be opened: {error}; restore it from a backup, or move it away") from error

    async def run(
        self, function: Callable[Concatenate[apsw.Connection, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """The function's result. Its writes are whole or not at all."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, self._transaction, lambda: function(self._connection, *args, **kwargs)
        )

    async def truncate_log(self) -> None:
        """Empty the write-ahead log, so that what was deleted is in no file."""
        await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        )

    def close(self) -> None:
        """Finish what runs, then close; the write-ahead log is folded in."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()

    def _transaction(self, work: Callable[[], _T]) -> _T:
        try:
            with self._connection:
                result = work()
        except _DISK as error:
            raise ApiError(503, "storage_unavailable", f"{self._name} can't be written or read: {error}") from error
        return result


def _vec0() -> str:
    # Found without importing the package: its module imports numpy, 13 MB that the door has no use for.
    spec: Any = importlib.util.find_spec("sqlite_vec")
    return str(Path(spec.origin).with_name("vec0"))
