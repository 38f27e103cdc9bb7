"""Starts a service in its room, on a machine without a container engine. Called by the supervisor, the user unit and the driver.

``prepare``: after a restart of the machine, make the secrets that paictl generated appear on tmpfs again.
``start SERVICE``: become the service; in its room, or plainly where the manifest says ``unconfined``.
``exec SERVICE -- COMMAND``: become a command with exactly that confinement.
``run MODULE …``: inside the room, the last step: set the limits and be the program.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import runpy
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from paictl.runtime.room import ROOM_PYTHON, Room, bubblewrap, read_room
from paictl.sandbox import namespaces

__all__ = ["main", "prepare"]

_PR_SET_PDEATHSIG = 1
# sysexits.h: what the supervisor's log shows for a service that can't be started as it is set up.
_EX_CONFIG = 78
_STARTS_KEPT = 5


def prepare(root: Path) -> list[str]:
    """Bring back the generated secrets from ``keys/``; returns the names of those that only ``paictl apply`` can bring back."""
    link = root / "secrets"
    folder = link.readlink()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder} is not private to this user; remove it")
    for original in sorted((root / "keys").iterdir()):
        place = folder / original.name
        if not original.name.startswith(".") and not place.exists():
            temporary = folder / f".{original.name}.{os.getpid()}"
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o400)
            with os.fdopen(handle, "wb") as file:
                file.write(original.read_bytes())
            temporary.rename(place)
    rooms = [read_room(root, path.stem) for path in sorted((root / "supervisor" / "rooms").glob("*.json"))]
    return sorted({name for room in rooms for name in room.secrets if not (root / name).exists()})


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one of the four; all but ``prepare`` end by being another program."""
    parser = argparse.ArgumentParser(prog="paictl.runtime.boot", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("prepare", "start", "exec"):
        one = verbs.add_parser(verb)
        one.add_argument("--root", type=Path, required=True)
        if verb != "prepare":
            one.add_argument("service")
        if verb == "exec":
            one.add_argument("command", nargs=argparse.REMAINDER)
    run = verbs.add_parser("run")
    run.add_argument("--processes", type=int, required=True)
    run.add_argument("module")
    run.add_argument("rest", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments)
    if asked.verb == "run":
        _run(asked.module, asked.rest, asked.processes)
        return 0
    try:
        return _outside(asked)
    except (OSError, ValueError, TypeError) as error:
        sys.stderr.write(f"paictl: {getattr(asked, 'service', 'the agent')} can't be started: {error}\n")
        return _EX_CONFIG


def _outside(asked: argparse.Namespace) -> int:
    missing = prepare(asked.root)
    if asked.verb == "prepare":
        if missing:
            sys.stderr.write(f"paictl: not on this machine any more, run `paictl apply`: {', '.join(missing)}\n")
        return 0
    room = read_room(asked.root, asked.service)
    if gone := sorted(set(missing) & set(room.secrets)):
        raise FileNotFoundError(f"{', '.join(gone)} is not on this machine any more; run `paictl apply`")
    if asked.verb == "start":
        _die_with_parent()
        _note_start(asked.root, asked.service)
        _limit(resource.RLIMIT_NOFILE, room.open_files)
        # bubblewrap's own processes ignore the polite signal, so that the service alone hears it and ends in its own time.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _become(room, asked.root, _program(room), [])
    command = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    _become(room, asked.root, command, ["--new-session"])
    return 0


def _program(room: Room) -> list[str]:
    root = "/paictl" if room.confined else "."
    start = ["python", "-m", "paictl.runtime.boot", "run", "--processes", str(room.processes if room.confined else 0)]
    return [*start, room.module, "--root", root, "--config", room.config]


def _become(room: Room, root: Path, command: list[str], extra: list[str]) -> None:
    if command[0] == "python":
        command = [ROOM_PYTHON if room.confined else sys.executable, *command[1:]]
    os.chdir(root)
    if not room.confined:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    if shutil.which("bwrap") is None:
        raise FileNotFoundError("bubblewrap is not installed; install the package `bubblewrap`")
    prefix = bubblewrap(room, root, os.environ.get("PAICTL_MARK", ""), namespaces())
    os.execvp(prefix[0], [*prefix, *extra, "--", *command])  # noqa: S606


def _run(module: str, rest: Sequence[str], processes: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if processes and os.getuid() != 0:
        # Counted per user and user namespace (Linux 5.14), so only set where it counts this service alone: not for root,
        # who has no user namespace of its own in the room and is counted with everything else of root's.
        _limit(resource.RLIMIT_NPROC, processes)
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _note_start(root: Path, service: str) -> None:
    """When it was started, the last few times: whoever asks after its health sees that it fails again and again."""
    path = root / "run" / "supervisor" / f"{service}.starts"
    # A full disk must not keep the agent from starting.
    with contextlib.suppress(OSError):
        earlier = path.read_text(encoding="ascii").split()[1 - _STARTS_KEPT :] if path.exists() else []
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text("\n".join([*earlier, str(int(time.time()))]), encoding="ascii")
        temporary.replace(path)


def _die_with_parent() -> None:
    """Never outlive the supervisor: what it no longer watches would become a second agent on one database."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise ChildProcessError("the supervisor has ended")


if __name__ == "__main__":
    sys.exit(main())
