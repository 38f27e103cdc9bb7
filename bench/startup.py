"""How much CPU time the command line costs before it does anything: whole processes, best of several."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.table import Row

__all__ = ["cpu_seconds", "run"]

_ROOT = Path(__file__).parent.parent
_RUNS = 7


def run() -> list[Row]:
    """``--help``, ``--version`` and ``validate`` of the largest example."""
    return [
        Row("`paictl --help`, CPU", 1000 * cpu_seconds("--help"), "ms", 100),
        Row("`paictl --version`, CPU", 1000 * cpu_seconds("--version"), "ms", 100),
        Row(
            "`paictl validate` of the largest example, CPU",
            1000 * cpu_seconds("validate", str(_ROOT / "examples/full/agent.yaml")),
            "ms",
            300,
        ),
    ]


def cpu_seconds(*arguments: str) -> float:
    """User and system time of one run of paictl with its children, the least of several: what the code costs, not the load."""
    best = float("inf")
    for _ in range(_RUNS):
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("paictl")), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"paictl {' '.join(arguments)} ended with {process.returncode}")
        best = min(best, usage.ru_utime + usage.ru_stime)
    return best
