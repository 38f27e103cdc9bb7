"""Model files on this machine, by the hash of their content; called by ``fetch`` and the drivers, never downloads.

Layout of ``~/.cache/paictl/weights``::

    sha256/<hash>          a whole, checked file
    sha256/<hash>.stamp    its size, time and inode when it was checked: while they hold, it need not be hashed again
    parts/<key>            what has arrived of a file so far, with <key>.json beside it
    locks/<key>            one download at a time
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from paictl import places
from paictl.disk import free_bytes, sync_directory
from paictl.sizes import byte_count
from paictl.weights.failures import NoSpace

__all__ = ["Cache", "hash_file", "place", "room", "stamp", "verify"]

_CHUNK = 1024 * 1024
_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# The kernel's answers to a link or clone that this pair of places doesn't allow; a copy does.
_NO_LINK = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}
)


@dataclass(frozen=True, slots=True)
class Cache:
    """Where fetched model files are kept."""

    root: Path = field(default_factory=lambda: places.cache_home() / "weights")

    def path(self, sha256: str) -> Path:
        """Where the file with this hash is, or would be."""
        return self.root / "sha256" / sha256

    def part(self, key: str) -> Path:
        """Where the unfinished download is kept."""
        return self.root / "parts" / key

    def has(self, sha256: str) -> bool:
        """Whether the file is here, whole and unaltered. Reads it only when its stamp does not fit."""
        path = self.path(sha256)
        return path.is_file() and verify(path, sha256)

    @contextmanager
    def lock(self, key: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the lock of one file; ``waiting`` is called once when somebody else holds it. Released on kill -9, too."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        # Opened close-on-exec, as Python does: a child must not keep it.
        with (folder / key).open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def keep(self, arrived: Path, sha256: str) -> Path:
        """Take a checked file of this file system in under its hash."""
        path = self.path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrived.chmod(0o444)
        arrived.replace(path)
        sync_directory(path.parent)
        stamp(path, sha256)
        return path


def verify(path: Path, sha256: str, *, full: bool = False) -> bool:
    """Whether the file still has this hash; writes nothing.

    A stamp beside it that fits its size, modification time and inode is believed, unless ``full``; without one the file is hashed.
    """
    try:
        status = path.stat()
        if not full:
            with contextlib.suppress(OSError, ValueError):
                if json.loads(_stamp_of(path).read_bytes()) == _stamp(status, sha256):
                    return True
        return hash_file(path) == sha256
    except FileNotFoundError:
        return False


def stamp(path: Path, sha256: str) -> None:
    """Record that the file was just found to have this hash."""
    target = _stamp_of(path)
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    temporary.write_text(json.dumps(_stamp(path.stat(), sha256)), encoding="ascii")
    temporary.replace(target)


def place(cached: Path, destination: Path, sha256: str) -> Path:
    """Make a cached file appear at ``destination``: as a hard link, else a clone, else a copy. Safe to repeat."""
    if destination.exists() and verify(destination, sha256):
        stamp(destination, sha256)  # somebody touched it or lost its stamp: the next look is cheap again
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}")
    with room(destination.parent, 0):
        temporary.unlink(missing_ok=True)
        try:
            _link_or_copy(cached, temporary)
            temporary.replace(destination)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(destination.parent)
        stamp(destination, sha256)
    return destination


@contextmanager
def room(folder: Path, needed: int) -> Iterator[None]:
    """Refuse to begin when ``folder``'s disk has less than ``needed`` bytes free, and say so when it fills up on the way."""
    free = free_bytes(folder)
    if free < needed:
        raise NoSpace(
            f"{folder} needs {byte_count(needed)} more, but its disk has {byte_count(free)} free",
            help="free some space, or set XDG_CACHE_HOME to a larger disk",
        )
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise NoSpace(
            f"the disk of {folder} is full ({os.strerror(error.errno)}); nothing that stood there was changed",
            help="free some space and run the same command again, or set XDG_CACHE_HOME to a larger disk",
        ) from error


def hash_file(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _link_or_copy(cached: Path, temporary: Path) -> None:
    try:
        os.link(cached, temporary)
        return
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
    with cached.open("rb") as original, temporary.open("xb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            shutil.copyfileobj(original, copy, _CHUNK)
        copy.flush()
        os.fsync(copy.fileno())
    temporary.chmod(0o444)


def _stamp_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.stamp")


def _stamp(status: os.stat_result, sha256: str) -> dict[str, object]:
    return {"sha256": sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
