from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from paictl.errors import ManifestError
from paictl.manifest.findings import Findings
from paictl.manifest.load import load
from paictl.manifest.source import parse

_FULL = Path("examples/full/agent.yaml")
_INSERTS = [
    "\t",
    ":",
    "- ",
    "{",
    "]",
    "&a",
    "*a",
    "null",
    "5",
    '"',
    "${X",
    "\n",
    "x-",
    "<<",
    "!!t",
    "é",
    "\x00",
    "[[",
    "  ",
]


def test_no_slip_of_the_pen_gets_a_traceback(tmp_path: Path) -> None:
    text = _FULL.read_text(encoding="utf-8")
    chance = random.Random(7)
    for _ in range(120):
        broken = text
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(broken))
            broken = broken[:at] + chance.choice(_INSERTS) + broken[at + chance.randint(0, 12) :]
        (tmp_path / "agent.yaml").write_text(broken, encoding="utf-8")
        with contextlib.suppress(ManifestError):
            load(["agent.yaml"], env={}, cwd=tmp_path)


def test_no_misplaced_value_gets_a_traceback(tmp_path: Path) -> None:
    lines = _FULL.read_text(encoding="utf-8").splitlines(keepends=True)
    chance = random.Random(11)
    for _ in range(80):
        mixed = list(lines)
        first, second = chance.randrange(len(mixed)), chance.randrange(len(mixed))
        mixed[first] = mixed[first].partition(":")[0] + ":" + mixed[second].partition(":")[2]
        (tmp_path / "agent.yaml").write_text("".join(mixed) or "\n", encoding="utf-8")
        with contextlib.suppress(ManifestError):
            load(["agent.yaml"], env={}, cwd=tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_tree_or_findings(text: str) -> None:
    findings = Findings()
    source = parse(text, "agent.yaml", Path(), findings)
    assert source is not None or findings.errors


def test_validating_the_largest_example_stays_within_its_budget() -> None:
    """Design 6: at most 300 ms of CPU for the whole process; the command line's own share is measured in bench/."""
    code = "import os, time, paictl.manifest.load as m; m.load(['examples/full/agent.yaml'], env={}); print(time.process_time())"
    runs = [float(subprocess.check_output([sys.executable, "-c", code], text=True)) for _ in range(3)]
    assert min(runs) <= 0.3, runs
