"""Writing to disk so that a crash leaves the old or the new, never half. Used by every part of the native driver."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from pathlib import Path

from paictl.disk import replace_file, sync_directory
from paictl.errors import PaictlError, Refused

__all__ = ["clone", "private_directory", "read_json", "remove_tree", "sweep", "write", "write_json"]

_TEMPORARY = re.compile(r"\..+\.\d+(\.gone)?")
# The kernel's refusals to link that a copy gets around.
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES, errno.ENOTSUP, errno.ENOSYS})


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace the file as one act, in a folder that is made for it where there is none."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, content, mode)


def write_json(path: Path, content: object) -> None:
    """The same for JSON data."""
    write(path, (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict[str, object] | None:
    """The file's object; None when there is no file or no object in it."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def private_directory(path: Path) -> None:
    """Make it, 0700 and ours; refuses one that somebody else put there, which on a shared tmpfs would be an attack."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if path.is_symlink() or status.st_uid != os.getuid():
        raise Refused(f"{path} belongs to somebody else", help=f"look at it, then remove it: rm -r {path}")
    if status.st_mode & 0o777 != 0o700:
        path.chmod(0o700)


def clone(source: Path, destination: Path) -> None:
    """The same tree again, by hard links where the disk allows it. Appears under its name only when it is whole."""
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}")
    remove_tree(temporary)
    destination.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        shutil.copytree(source, temporary, symlinks=True, copy_function=_link)
    except (OSError, PaictlError):
        # What is half there is worth nothing, and a full disk needs its room.
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    remove_tree(destination)
    temporary.rename(destination)
    sync_directory(destination.parent)


def remove_tree(path: Path) -> None:
    """Remove whatever stands there; nothing there is fine. Renamed first, so that a crash leaves no half of it in place."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        doomed = path.with_name(f".{path.name}.{os.getpid()}.gone")
        with contextlib.suppress(FileNotFoundError):
            path.rename(doomed)
            shutil.rmtree(doomed)


def sweep(folder: Path) -> None:
    """Remove what a kill left under temporary names of ours. For who holds the lock that keeps others away."""
    for path in list(folder.rglob(".*")):
        if _TEMPORARY.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _link(source: str, destination: str) -> str:
    try:
        os.link(source, destination, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise _trouble(error, destination) from error
        try:
            shutil.copy2(source, destination, follow_symlinks=False)
        except OSError as second:
            raise _trouble(second, destination) from second
    return destination


def _trouble(error: OSError, destination: str) -> PaictlError:
    """Not an OSError: copytree would collect one for each file, and go on."""
    return PaictlError(
        f"{destination} can't be written: {error.strerror}",
        help="Mend that (make room on a full disk), and run the same command again.",
    )
