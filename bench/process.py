"""What whole processes cost, measured in turns so that all have the same machine. Used by the benchmarks and by tests that hold a bar."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Command", "Cost", "in_turns"]


@dataclass(frozen=True)
class Command:
    """One command line and where it is typed; its output is thrown away."""

    line: Sequence[str]
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Cost:
    """Of a process and its children, in seconds: the least of several runs, since what else the machine does only adds."""

    cpu: float
    wall: float


def in_turns(*commands: Command, runs: int) -> list[Cost]:
    """The cost of each, after one run that is not counted. Raises ``RuntimeError`` when one fails."""
    for command in commands:
        _timed(command)
    found: list[list[tuple[float, float]]] = [[] for _ in commands]
    for _ in range(runs):
        for each, command in zip(found, commands, strict=True):
            each.append(_timed(command))
    return [Cost(*map(min, zip(*each, strict=True))) for each in found]


def _timed(command: Command) -> tuple[float, float]:
    begun = time.monotonic()
    process = subprocess.Popen(
        command.line, cwd=command.folder, env=command.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command.line)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - begun
