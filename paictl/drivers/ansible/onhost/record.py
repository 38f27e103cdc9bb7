"""Keeps one file of root's on its host, whole or not at all, also when the power goes. Sent to the host as it is.

``argv``: ``load``, ``save`` or ``forget``, and the file; ``save`` takes the content from standard input.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path


def main(verb: str, path: Path) -> None:
    """Do it; what ``load`` finds goes to standard output."""
    if verb == "load":
        with suppress(FileNotFoundError):
            sys.stdout.buffer.write(path.read_bytes())
    elif verb == "save":
        save(path, sys.stdin.buffer.read())
    else:
        path.unlink(missing_ok=True)
        for folder in path.parents[:3]:
            with suppress(OSError):  # something else is in it
                folder.rmdir()


def save(path: Path, content: bytes) -> None:
    """On the disk when it returns. A name that a crash left half written is written over by the next one."""
    for folder, mode in ((path.parents[2], 0o755), (path.parents[1], 0o700), (path.parent, 0o700)):
        folder.mkdir(mode=mode, exist_ok=True)
    part = path.with_name("." + path.name + ".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
    except OSError:
        part.unlink()
        raise
    part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except OSError as error:
        sys.exit(error.strerror)
