"""What hosts, or the programs that were used on them, left behind on this machine; the lane asks at its end.

Hosts that stand for somebody else meanwhile, in another run or by hand, are no business of the lane.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.hosts import roots
from tests.hosts.lan import Lan, sweep, version_2
from tests.waiting import until

__all__ = ["watched"]

_END_SECONDS = 90
# Where what must not reach a disk lies while a play runs.
_MEMORY = (Path("/dev/shm"), Path("/run/user"))


@contextmanager
def watched() -> Iterator[list[str]]:
    """Everything started in the block is known by its control group, however far it went; the list is filled at the block's end."""
    sweep()
    left: list[str] = []
    before = _things()
    home = version_2() / _own_group().lstrip("/")
    group = version_2() / f"paictl-lane-{secrets.token_hex(4)}"
    group.mkdir()
    _move_to(group)
    try:
        yield left
    finally:
        _move_to(home)
        with suppress(AssertionError):
            # A connection that is kept for the next command ends by itself.
            until(lambda: not [*_processes(group), *(_things() - before)], "the end of everything", _END_SECONDS)
        left += [*_processes(group), *sorted(_things() - before)]
        with suppress(OSError):
            group.rmdir()


def _own_group() -> str:
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))


def _move_to(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")


def _processes(group: Path) -> list[str]:
    """What runs in it, as people know it."""
    found = []
    for pid in (group / "cgroup.procs").read_text(encoding="ascii").split():
        with suppress(psutil.Error):
            process = psutil.Process(int(pid))
            found.append(f"process {pid} ({' '.join(process.cmdline())[:120] or process.name()})")
    return found


def _things() -> set[str]:
    """What outlives processes, of networks that nobody uses."""
    used = [part for lan in _used() for part in (str(lan.directory), lan.group.name.rpartition("-")[2])]
    return {thing for thing in _all() if not any(part in thing for part in used)}


def _all() -> Iterator[str]:
    runs = roots.home() / "runs"
    yield from map(str, runs.glob("*"))
    yield from map(str, version_2().glob("paictl-hosts-*"))
    yield from (f"interface {name}" for name in psutil.net_if_addrs() if name.startswith("paih"))
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    yield from (f"mount {mount.split()[1]}" for mount in mounts if str(runs) in mount)
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # taken down in this moment
            file = backing.read_text(encoding="utf-8").strip()
            if str(runs) in file:
                yield f"loop device of {file}"
    for place in _MEMORY:
        yield from map(str, place.glob("**/paictl*/plays/*"))


def _used() -> Iterator[Lan]:
    """Those that are held for somebody: until they are stopped by hand, or while a test has their file locked."""
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "hold" in line and any(part.endswith("hosts/supervisor.py") for part in line):
            directory, _, *users = line[line.index("hold") + 1 :]
            if not users or _locked(Path(users[0])):
                yield Lan(Path(directory))


def _locked(file: Path) -> bool:
    try:
        with file.open("a", encoding="ascii") as users:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False
