"""What the machine itself is like, as far as an agent needs to know before it moves in. Used by ``looking``; changes nothing."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

__all__ = ["facts"]

_LISTENING = "0A"


def facts() -> dict[str, Any]:
    """``boot``, ``arch``, ``memory`` and ``disk_free`` in bytes, ``processors``, ``python``, ``os``, ``listening`` (TCP ports)."""
    return {
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        "arch": os.uname().machine,
        "kernel": os.uname().release,
        "memory": _memory("MemTotal"),
        "memory_available": _memory("MemAvailable"),
        "disk_free": shutil.disk_usage("/var/lib").free,
        "processors": os.cpu_count() or 1,
        "python": platform.python_version(),
        "os": _release(),
        "systemd": Path("/run/systemd/system").is_dir(),
        "listening": sorted(_listening()),
    }


def _memory(name: str) -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _release() -> dict[str, str]:
    """As /etc/os-release tells it."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    told = dict(line.partition("=")[::2] for line in lines if "=" in line)
    return {key: told.get(key.upper(), "").strip('"') for key in ("id", "id_like", "version_id", "pretty_name")}


def _listening() -> set[int]:
    found: set[int] = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:
            continue
        fields = (line.split() for line in lines)
        found.update(int(one[1].rpartition(":")[2], 16) for one in fields if one[3] == _LISTENING)
    return found
