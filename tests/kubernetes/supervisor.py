"""The program that holds a cluster's namespaces: it begins them, waits until nobody uses them, and ends everything in them.

Started by ``namespaces``; uses the standard library only. Its users hold a shared lock on a file, which the kernel lets go when
they end, however they end. So nothing outlives them, even if all of them are killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

_GROUPS = Path("/sys/fs/cgroup")
# Where kubelet, containerd and CNI write outside the directories that they are given.
_OWN = ("/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log", "/var/run/netns", "/run/xtables")
_POLL_SECONDS = 0.02


def hold(directory: Path, group: str, users: Path | None) -> None:
    """Begin the namespaces, tell who is first in them, and end them when ``users`` is not locked by others any more."""
    signal.signal(signal.SIGTERM, _leave)
    own = [sys.executable, "-I", __file__, "first", str(directory)]
    # A killed holder takes the namespaces along.
    dying = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    with subprocess.Popen([*dying, "--mount-proc", *own], stdin=subprocess.DEVNULL) as namespaces:
        try:
            _tell(directory, namespaces)
            if users is None:
                namespaces.wait()
                return
            # Held until this process ends, so that nobody begins before everything has ended.
            lock = os.open(users, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        finally:
            _end(namespaces)
            (directory / "first.json").unlink(missing_ok=True)
            _remove_groups(group)


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
    ready.unlink()
    told = {"holder": os.getpid(), "first": _children(namespaces)[0]}
    part = directory / "first.part"
    part.write_text(json.dumps(told), encoding="ascii")
    part.rename(directory / "first.json")


def _remove_groups(group: str) -> None:
    """Control groups outlive their processes: below one root (version 2) or one a controller (version 1)."""
    for root in (_GROUPS, *(one for one in _GROUPS.iterdir() if one.is_dir())) if _GROUPS.is_dir() else ():
        for folder, _, _ in os.walk(root / group, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()


def first(directory: Path) -> NoReturn:
    """Be the first process: prepare what all see, then bury those whose parents are gone."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for folder in _OWN:
        if not os.path.islink(folder):  # noqa: PTH114  # /var/run is a link on most systems
            Path(folder).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "paictl-test", folder], check=True)
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
    hold(Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]) if sys.argv[4:] else None)
