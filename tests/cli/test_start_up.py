"""Start-up is part of the interface: measured as the CPU time of the whole process, the best of five."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import PAICTL, World

ROOT = Path(__file__).parents[2]


def cpu_milliseconds(world: World, *args: str) -> float:
    best = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [PAICTL, *args], stdout=subprocess.DEVNULL, env=world.environment(), cwd=world.folder, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best * 1000


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_start_within_100_ms_of_cpu(world: World, flag: str) -> None:
    assert cpu_milliseconds(world, flag) <= 100


def test_validating_the_largest_example_takes_at_most_300_ms_of_cpu(world: World) -> None:
    largest = max(ROOT.glob("examples/*/agent.yaml"), key=lambda path: path.stat().st_size)
    assert cpu_milliseconds(world, "validate", str(largest)) <= 300


def test_nothing_heavy_is_imported_before_a_verb_needs_it(world: World) -> None:
    heavy = ("pydantic", "rich", "ruamel", "jinja2", "httpx", "psutil", "huggingface_hub", "asyncio", "paictl.engine")
    code = f"""
import sys
sys.argv = ["paictl", "--help"]
from paictl.cli.main import entry
assert entry() == 0
found = [name for name in {heavy!r} if name in sys.modules]
assert not found, found
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=world.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
