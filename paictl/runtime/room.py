"""What one service of an agent sees, as a bubblewrap command: nothing but what its room file names. Called by ``boot``.

Inside, the service's root is ``/paictl``, the interpreter's environment is ``/venv`` and, where the Python it stands on is not
the system's, that is ``/python``: no path of the person's appears in the room, not even as an empty directory.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paictl.sandbox import Namespaces

__all__ = ["ROOM_PYTHON", "Room", "bubblewrap", "read_room"]

ROOM_PYTHON = "/venv/bin/python"
_ROOT = "/paictl"
_BASE = "/python"
# Name resolution and the trust store: all that a program with a network needs of /etc.
_NETWORK_ETC = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
)
# What a container engine makes read-only of /proc (moby, oci/defaults.go).
_KERNEL_SWITCHES = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_TMP_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Room:
    """A room file, ``supervisor/rooms/<service>.json``: paths are relative to the agent's root."""

    service: str
    module: str
    config: str
    confined: bool
    network: bool
    read: tuple[str, ...]
    write: tuple[str, ...]
    secrets: tuple[str, ...]
    open_files: int
    processes: int


def read_room(root: Path, service: str) -> Room:
    """The room of that service; raises ``OSError`` or ``ValueError`` when its file is missing or damaged."""
    content = json.loads((root / "supervisor" / "rooms" / f"{service}.json").read_bytes())
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    return Room(**fields)


def bubblewrap(room: Room, root: Path, mark: str, made: Namespaces) -> list[str]:
    """The command up to further options, ``--`` and what is to run. ``mark`` tells whose process it is, to whoever looks from outside."""
    command = [*made.prefix, "bwrap", *made.options(network=room.network)]
    command += ["--die-with-parent", "--cap-drop", "ALL", "--hostname", room.service, "--clearenv"]
    for name, value in _environment(mark).items():
        command += ["--setenv", name, value]
    command += [*_system(), *_interpreter()]
    if room.network:
        for path in _NETWORK_ETC:
            command += ["--ro-bind-try", path, path]
    for path in (room.config, *room.read, *room.secrets):
        command += ["--ro-bind", str(root / path), f"{_ROOT}/{path}"]
    for path in room.write:
        command += ["--bind", str(root / path), f"{_ROOT}/{path}"]
    # Last, since it seals the directories that the mounts above needed.
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", _ROOT]


def _environment(mark: str) -> dict[str, str]:
    values = {
        "PATH": "/venv/bin:/usr/bin:/bin",
        "HOME": "/tmp",  # noqa: S108 - the room's own, empty and gone with it
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PAICTL_MARK": mark,
    }
    if _foreign_base():
        # An interpreter built with --enable-shared names the absolute place of its library.
        values["LD_LIBRARY_PATH"] = f"{_BASE}/lib"
    return values


def _system() -> list[str]:
    """The system's programs and libraries, read-only, a private /proc, /dev and /tmp."""
    command = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), f"/{name}"]
        elif path.exists():
            command += ["--ro-bind", f"/{name}", f"/{name}"]
    command += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm"]  # noqa: S108
    # The kernel's switches belong to root by their owner, without any capability: so they do to an agent that root runs.
    for switches in _KERNEL_SWITCHES:
        command += ["--ro-bind-try", switches, switches]
    # Numerical libraries ask it for the shape of the processor, and some refuse to start without.
    command += ["--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"]
    return [*command, "--size", str(_TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108


def _interpreter() -> list[str]:
    """The environment this very interpreter runs in, told so that none of the person's paths is needed to find it."""
    prefix, base = Path(sys.prefix), _foreign_base()
    executable = Path(prefix, "bin", "python").resolve()
    command = []
    if base:
        command += ["--ro-bind", str(base), _BASE]
        executable = Path(_BASE) / executable.relative_to(base)
    command += [
        "--ro-bind",
        str(prefix / "lib"),
        "/venv/lib",
        "--ro-bind",
        str(prefix / "room.cfg"),
        "/venv/pyvenv.cfg",
    ]
    if (prefix / "lib64").exists():
        command += ["--symlink", "lib", "/venv/lib64"]
    return [*command, "--symlink", str(executable), ROOM_PYTHON]


def _foreign_base() -> Path | None:
    """Where the Python below the environment lives, when that is not the system's /usr."""
    base = Path(os.path.realpath(sys.base_prefix))
    return None if base == Path("/usr") else base
