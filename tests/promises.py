"""Prints a line a promise: how many tests keep it, on which drivers they ran, and what came of it. ``make promises``.

Those on a Docker engine have a column of their own: without an engine they are skipped, and a promise is not kept by them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.conftest import RECORD
from tests.docker import engine

# The promises in the design's own order and words, shortened.
PROMISES = {
    1: "plan writes nothing and is byte-identical when run twice",
    2: "after apply the next plan is empty",
    3: "fingerprints are versioned: a new release recreates nothing",
    4: "an unreachable target is an error, never 'nothing exists'",
    5: "a plan that moved is refused before the first write",
    6: "deleting most of what stands needs --allow-destroy",
    7: "steps run in dependency order; destroy is the exact reverse",
    8: "a dependent starts only when what it needs is healthy",
    9: "one-shot jobs succeed once and are remembered",
    10: "failure stops new steps; the next apply goes on from there",
    11: "replacement keeps the old one serving, or says downtime",
    12: "data survives everything but --delete-data",
    13: "what is not ours is never touched",
    14: "kill -9 anywhere loses nothing and doubles nothing",
    15: "the journal is durable; a lost state is rebuilt",
    16: "one writer per agent and target",
    17: "rollback is an ordinary plan to an earlier release",
    18: "random graphs, worlds and failures converge",
    19: "what continuity names holds, or the change is undone",
    20: "backup drill restores and runs the continuity checks",
    21: "changing models or the store never loses a memory",
    22: "default deny; each permit maps to a manifest line",
    23: "the agent never holds a secret",
    24: "only the gateway leaves",
    25: "the whole label x sink matrix",
    26: "approvals can't be replayed, altered or borrowed",
    27: "a changed tool definition is withheld",
    28: "every port authenticated; wrong Host and Origin refused",
    29: "audit refuses when it can't write; tampering is found",
    30: "a tampered checkpoint runs no code",
    31: "paths stay confined",
    32: "limits hold under a burst and across a restart",
    33: "sandbox bars",
    34: "after forget the marker is in no file",
}


def main() -> int:
    """Run every test that carries a promise, or read what a run recorded, and print the table; 1 when one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.promises", description=__doc__)
    parser.add_argument("--heavy", action="store_true", help="the heavy tests, too")
    parser.add_argument(
        "--from", dest="record", type=Path, help=f"a record that a run with {RECORD} wrote; runs nothing"
    )
    asked = parser.parse_args()
    ran: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in _recorded(asked.record) if asked.record else _run(heavy=asked.heavy):
        for number in line["promises"]:
            ran[number].append(line)
    for number, promise in PROMISES.items():
        print(_row(number, promise, ran[number]))
    if any(one["driver"] == "docker" and one["outcome"] == "skipped" for tests in ran.values() for one in tests):
        print(f"\nskipped on docker: {engine.lacking() or 'each test says why itself'}")
    return int(any(one["outcome"] == "failed" for tests in ran.values() for one in tests))


def _run(*, heavy: bool) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record.jsonl")
        marks = "promise" if heavy else "promise and not heavy"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-m", marks]
        subprocess.run(command, env={**os.environ, RECORD: str(record)}, stdout=sys.stderr, check=False)
        return _recorded(record)


def _recorded(record: Path) -> list[dict[str, Any]]:
    """The lines of a record; a test that ran twice counts once, with its last outcome."""
    lines = map(json.loads, record.read_text(encoding="utf-8").splitlines() if record.exists() else [])
    return list({line["test"]: line for line in lines}.values())


def _row(number: int, promise: str, tests: list[dict[str, Any]]) -> str:
    if not tests:
        return f"{number:>3}  none    {'':<24} {'':<10} {promise}"
    failed = sum(one["outcome"] == "failed" for one in tests)
    skipped = sum(one["outcome"] == "skipped" for one in tests)
    drivers = ", ".join(sorted({one["driver"] for one in tests if one["outcome"] != "skipped"} - {"", "docker"}))
    count = f"{len(tests)} tests: {drivers}" if drivers else f"{len(tests)} tests"
    verdict = "FAILED" if failed else ("skipped" if skipped == len(tests) else "passed")
    return f"{number:>3}  {verdict:<7} {count:<24} {_on_docker(tests):<10} {promise}"


def _on_docker(tests: list[dict[str, Any]]) -> str:
    """How many ran on an engine."""
    outcomes = [one["outcome"] for one in tests if one["driver"] == "docker"]
    ran = len(outcomes) - outcomes.count("skipped")
    if not outcomes:
        return ""
    return f"docker {ran}" if ran else "docker -"


if __name__ == "__main__":
    sys.exit(main())
