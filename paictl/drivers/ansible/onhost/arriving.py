"""Takes a file that is brought to this host: PATH SHA256 SIZE look|take, and after ``look`` where it may be already. Standard library only.

``look`` prints "whole", or how many bytes of it came before; ``take`` reads the rest from its input. What came before a connection
broke off stays as PATH.part, locked by who writes it. Its text is run by ``uploads``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from pathlib import Path

__all__ = ["look", "main", "take"]

_CHUNK = 1 << 20


def look(path: Path, wanted: str, size: int, elsewhere: list[Path]) -> str:
    """How many bytes are there; fails where the rest has no room."""
    if any(_whole(one, wanted, size) for one in [path, *elsewhere]):
        return "whole"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _part(path).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = os.fstat(file.fileno()).st_size
        if done > size:
            file.truncate(done := 0)
        room = os.fstatvfs(file.fileno())
    free = room.f_bavail * room.f_frsize
    if free < size - done:
        sys.exit(f"its disk has room for {free >> 20} MiB more, and {size - done >> 20} MiB are to come")
    return str(done)


def take(path: Path, wanted: str, size: int) -> str:
    """The rest of it; the whole appears under its name when its hash was checked."""
    part = _part(path)
    with part.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        told = _digest(part)
        try:
            while piece := os.read(sys.stdin.fileno(), _CHUNK):
                file.write(piece)
                told.update(piece)
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            sys.exit(error.strerror)
        if part.stat().st_size < size:
            sys.exit("the connection broke off")
        if told.hexdigest() != wanted:
            part.unlink()
            sys.exit("what came is not the file")
        part.replace(path)
    return "whole"


def main() -> str:
    """What the arguments ask for."""
    path, wanted, size, verb = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    return take(path, wanted, size) if verb == "take" else look(path, wanted, size, [Path(one) for one in sys.argv[5:]])


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _whole(path: Path, wanted: str, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size and _digest(path).hexdigest() == wanted


def _digest(path: Path) -> hashlib._Hash:
    told = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            told.update(piece)
    return told


if __name__ == "__main__":
    sys.stdout.write(f"{main()}\n")
