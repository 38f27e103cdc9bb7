"""The program that holds the namespaces in which hosts stand: it begins them, waits until nobody uses them, and leaves nothing.

Started by ``lan``; uses the standard library only. Its user holds a shared lock on a file, which the kernel lets go when that
process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

_POLL_SECONDS = 0.02
_END_SECONDS = 30


def hold(directory: Path, group: Path, users: Path | None) -> None:
    """Begin the namespaces, tell who is first in them, and end them when ``users`` is not locked by others any more."""
    signal.signal(signal.SIGTERM, _leave)
    # Held until this process ends: whose lock is free has left its things behind.
    held = os.open(directory / "held.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    own = [sys.executable, "-I", __file__, "first", str(directory)]
    # A killed holder takes the namespaces along.
    dying = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    with subprocess.Popen([*dying, "--mount-proc", *own], stdin=subprocess.DEVNULL) as namespaces:
        try:
            _tell(directory, namespaces)
            if users is None:
                namespaces.wait()
                return
            lock = os.open(users, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        finally:
            _end(namespaces)
            clear(directory, group)


def clear(directory: Path, group: Path) -> None:
    """Remove what outlives processes: control groups, and everything below ``directory``."""
    deadline = time.monotonic() + _END_SECONDS
    while group.is_dir() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(group, topdown=False):
            # Busy for a moment after the last process.
            with suppress(OSError):
                Path(folder).rmdir()
        time.sleep(_POLL_SECONDS)
    shutil.rmtree(directory, ignore_errors=True)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def _end(namespaces: subprocess.Popen[bytes]) -> None:
    """The first process has ended only when all others have; what started it waits for that."""
    children = _children(namespaces)
    if not children:
        namespaces.kill()
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    namespaces.wait()


def _children(process: subprocess.Popen[bytes]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in path.read_text(encoding="ascii").split()] if path.exists() else []


def _tell(directory: Path, namespaces: subprocess.Popen[bytes]) -> None:
    ready = directory / "ready"
    while not ready.exists():
        if namespaces.poll() is not None:
            sys.exit("the namespaces can't be made")
        time.sleep(_POLL_SECONDS)
    told = {"holder": os.getpid(), "first": _children(namespaces)[0]}
    part = directory / "first.part"
    part.write_text(json.dumps(told), encoding="ascii")
    part.rename(directory / "first.json")


def first(directory: Path) -> NoReturn:
    """Be the first process: bury those whose parents are gone."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    (directory / "ready").touch()
    while True:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        signal.sigwait({signal.SIGCHLD})


if __name__ == "__main__":
    if sys.argv[1] == "first":
        first(Path(sys.argv[2]))
    hold(Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]) if sys.argv[4:] else None)
