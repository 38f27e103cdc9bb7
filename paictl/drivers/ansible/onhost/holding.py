"""Holds the lock of one agent on its host: flock for as long as somebody at the other end of the line says that it lives.

Sent to the host as it is. The lock is the kernel's: it is free when this process ends, whatever ended it, and after a boot.
``argv``: the lock's file, the holder as JSON, and after how many seconds of silence it lets go. Says one line of JSON
(``held`` by whom, or ``taken`` and who was ``dead``), then repeats each line that it is told; after ``done`` it removes the file.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import sys
from contextlib import suppress
from pathlib import Path

_DONE = b"done"
_MOST = 4096


def main(path: str, holder: str, silence: float) -> None:
    """Until it is told that it is done, the line ends, or nothing is heard for too long."""
    lock, ours = _opened(path)
    found = os.pread(lock, _MOST, 0).decode("utf-8", "replace")
    if not ours:
        _say({"held": found})
        return
    with suppress(OSError):  # no room costs the name in a message, not the lock
        os.ftruncate(lock, 0)
        os.pwrite(lock, holder.encode(), 0)
    _say({"taken": True, "dead": found})
    rest = b""
    while select.select([0], [], [], silence)[0]:
        heard = os.read(0, _MOST)
        if not heard:
            return  # without a word: the name stays, so that the next one is told from whom it took over
        *lines, rest = (rest + heard).split(b"\n")
        for line in lines:
            if line == _DONE:
                Path(path).unlink()
            os.write(1, line + b"\n")
            if line == _DONE:
                return


def _opened(path: str) -> tuple[int, bool]:
    """The file's descriptor, and whether it is locked for us; never that of one removed between opening and locking."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if not _ours(lock):
            return lock, False
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), Path(path).stat()):
                return lock, True
        os.close(lock)


def _ours(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _say(told: dict[str, object]) -> None:
    os.write(1, json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
