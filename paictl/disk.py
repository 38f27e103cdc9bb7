"""What paictl needs of a disk beyond pathlib: replacing a file so that a crash leaves the old or the new, and the room left."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["existing", "free_bytes", "replace_file", "sync_directory"]


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace the file as one act: temporary name, fsync, rename, fsync of the directory. ``mode`` holds whatever the umask.

    Raises ``OSError``; what stood there stands then unchanged. A kill may leave ``.NAME.PID`` beside it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make what was created, renamed or removed in it durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def existing(path: Path) -> Path:
    """The path itself, else the nearest folder above it that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def free_bytes(path: Path) -> int:
    """The room left on the disk where ``path`` is, or would be."""
    return shutil.disk_usage(existing(path)).free
