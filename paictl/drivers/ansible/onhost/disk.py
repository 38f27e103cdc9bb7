"""Files of paictl's own on a host, replaced so that a crash leaves the old or the new. Used by everything here that keeps something."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "FOUND",
    "HOME",
    "RECORDS",
    "entries",
    "locked",
    "read_json",
    "remove",
    "retire",
    "sync",
    "write",
    "write_json",
]

HOME = Path("/var/lib/paictl")
RECORDS = HOME / ".records"
FOUND = HOME / ".found"
_LOCK = FOUND / ".lock"


def write(path: Path, content: bytes, mode: int = 0o600, owner: tuple[int, int] = (0, 0)) -> None:
    """Replace the file as one act; durable when this returns."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        # A full disk needs its room.
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json(path: Path, content: object) -> None:
    """The same for JSON data, in directories that nobody but root looks into."""
    for folder in (RECORDS, FOUND, path.parent):
        if folder in (path.parent, *path.parents):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """The file's object; None when there is no file or no object in it."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def entries(folder: Path) -> list[Path]:
    """What is in the folder; nothing when there is none."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove(path: Path) -> None:
    """Remove one file, durably; nothing there is fine."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync(path.parent)


def sync(folder: Path) -> None:
    """What was renamed or removed in it stays so when the power goes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One at a time on this host: several agents share what was found."""
    FOUND.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        with _LOCK.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever was last here may have removed it meanwhile.
            if _same(file.fileno()):
                yield
                return


def _same(descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), _LOCK.stat())
    except FileNotFoundError:
        return False


def retire() -> None:
    """Where nothing is kept any more, leave nothing behind. Called with the lock held."""
    kept = [one for one in entries(FOUND) if one != _LOCK]
    if any(one.suffix == ".json" and one.name != "packages.json" for one in kept):
        return
    for one in (*kept, _LOCK):
        one.unlink(missing_ok=True)
    for folder in (*(one for one in entries(RECORDS) if one.is_dir()), RECORDS, FOUND, HOME):
        with contextlib.suppress(OSError):
            folder.rmdir()
