"""Which processes of this machine are the agent's own: by the mark in their environment, never by a pid alone.

A pid comes back for another program; a pid with its start time does not while the machine runs, and the boot id tells
whether it is still the same run of the machine. Used to observe, and to stop what a killed supervisor left behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from paictl.drivers.native.layout import Layout

__all__ = ["Process", "end", "identify", "marked"]

_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, order=True)
class Process:
    """One process for good: ``start`` is its start time in clock ticks since the machine's start (proc(5), field 22)."""

    pid: int
    start: int
    boot: str

    def __str__(self) -> str:
        return f"{self.pid}:{self.start}:{self.boot}"


def identify(pid: int) -> Process | None:
    """The process that has this pid now; None when none has, or only its remains wait to be collected."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    # The command's name may hold spaces and parentheses: the fields begin after the last one.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else Process(pid, int(fields[19]), boot)


def marked(layout: Layout) -> list[Process]:
    """Every live process that carries this agent's mark: supervisor, services, and what they started."""
    wanted = f"PAICTL_MARK={layout.mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    process = identify(int(entry.name))
                    if process is not None:
                        found.append(process)
    return sorted(found)


def end(processes: Iterable[Process]) -> None:
    """Ask them to end, then make them. A pid that meanwhile belongs to another program is left alone."""
    import psutil

    alive = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            handle = psutil.Process(process.pid)
            # psutil compares the start time again before each signal; this ties its object to the process we mean.
            if identify(process.pid) == process:
                handle.terminate()
                alive.append(handle)
    _, stubborn = psutil.wait_procs(alive, timeout=_GRACE_SECONDS)
    for handle in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            handle.kill()
    psutil.wait_procs(stubborn, timeout=_GRACE_SECONDS)
