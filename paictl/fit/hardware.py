"""What this machine has for models: cores, memory, accelerators, disk; a container's limits count as the machine's.

Called by ``fit`` and ``lock``. Reads the system only, and never guesses: what can't be read is absent.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from paictl.disk import free_bytes

__all__ = ["Gpu", "Hardware", "default_threads", "probe"]

_UNLIMITED = 2**60  # cgroup v1 writes "no limit" as a number near 2**63
_GPU_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Gpu:
    """An accelerator with memory of its own, in bytes; ``free`` is 0 where it can't be read."""

    name: str
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a machine has. Memory and disk in bytes; ``cores`` are the ones that may be used, whole.

    ``name`` is what a sentence about it calls it.
    """

    cores: int
    ram: int
    ram_available: int
    swap: int
    disk_free: int
    arch: str
    model: str = ""
    gpus: tuple[Gpu, ...] = ()
    name: str = "this machine"

    @property
    def is_pi(self) -> bool:
        """Whether it is a Raspberry Pi."""
        return self.model.startswith("Raspberry Pi")


def default_threads(cores: int) -> int:
    """One core stays free for whatever else runs: two threads beside one busy process fell from 60 to 2 tokens a second."""
    return max(1, cores - 1)


def probe(path: Path, root: Path = Path("/")) -> Hardware:
    """Look at this machine; ``path`` is where the model files will lie. ``root`` is where /proc and /sys are."""
    import psutil

    memory = psutil.virtual_memory()
    limit, used = _memory_limit(root)
    ram, available = memory.total, memory.available
    if limit < ram:
        ram, available = limit, min(available, max(0, limit - used))
    return Hardware(
        cores=max(1, min(len(os.sched_getaffinity(0)), math.floor(_cpu_limit(root)))),
        ram=ram,
        ram_available=available,
        swap=psutil.swap_memory().total,
        disk_free=free_bytes(path),
        arch=platform.machine(),
        model=_text(root / "proc/device-tree/model").rstrip("\0"),
        gpus=(*_nvidia(), *_amd(root)),
    )


def _memory_limit(root: Path) -> tuple[int, int]:
    """The tightest memory limit over this process and, with what is used below it, in bytes."""
    tightest, used = _UNLIMITED, 0
    for folder in _groups(root, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if not limit or limit >= tightest:
            continue
        held = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        # Cached file pages count as used, but the kernel gives them back when memory is wanted.
        cached = _statistic(folder / "memory.stat", "inactive_file") or _statistic(
            folder / "memory.stat", "total_inactive_file"
        )
        tightest, used = limit, max(0, held - cached)
    return tightest, used


def _cpu_limit(root: Path) -> float:
    """How many cores' worth of time this process may use."""
    tightest = math.inf
    for folder in _groups(root, "cpu"):
        quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
        if not quota:
            quota, period = _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
        if quota.isdecimal() and period.isdecimal() and int(period):
            tightest = min(tightest, int(quota) / int(period))
    return tightest if tightest < math.inf else 2**20


def _groups(root: Path, controller: str) -> list[Path]:
    """The folders of this process's control group and of the ones above it (cgroups(7)); version 1, 2 or a mixture."""
    found: list[Path] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        mounts = (
            [root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup" / controller]
            if controllers
            else [root / "sys/fs/cgroup"]
        )
        mount = next((mount for mount in mounts if mount.is_dir()), None)
        if mount is None:
            continue
        inside = Path(path.lstrip("/"))
        # In a container the path is the host's and does not exist here; the mount itself is then the container's group.
        folders = [mount / parent for parent in (inside, *inside.parents)]
        found += [folder for folder in folders if folder.is_dir()]
    return found


def _nvidia() -> list[Gpu]:
    command = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GPU_TIMEOUT_SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in said.splitlines()]
    return [
        Gpu(row[0], int(row[1]) << 20, int(row[2]) << 20)
        for row in rows
        if len(row) == 3 and row[1].isdecimal() and row[2].isdecimal()
    ]


def _amd(root: Path) -> list[Gpu]:
    found = []
    for total in sorted((root / "sys/class/drm").glob("card[0-9]*/device/mem_info_vram_total")):
        size, used = _number(total), _number(total.with_name("mem_info_vram_used"))
        found.append(Gpu(_text(total.with_name("product_name")).strip() or "AMD GPU", size, max(0, size - used)))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else 0


def _statistic(path: Path, key: str) -> int:
    words = dict(line.split(" ", 1) for line in _text(path).splitlines() if " " in line)
    return int(words[key]) if words.get(key, "").isdecimal() else 0
