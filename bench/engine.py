"""The engine's speed on the fake driver: plans of 10 to 5,000 resources, and an apply of 1,000 with every fsync.

Each measurement runs in a process of its own: the bars are for the whole process, imports included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.table import Row

__all__ = ["run"]

_SIZES = (10, 100, 1000, 5000)

_MEASURE = """
import json, sys, time
from pathlib import Path
from paictl.drivers.fake import FakeDriver
from paictl.engine.driver import Scope
from paictl.engine.intent import Desired
from paictl.engine.model import Address, Probe, Resource
from paictl.engine.reconciler import Reconciler

verb, count, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])

def at(number):
    return Address("here", "fake", "service", f"s{number:05}")

def resource(number):
    spec = {"image": "a", "port": number, "env": {"A": "b", "C": str(number)}, "args": ["x", "y"]}
    needs = (at(number // 2),) if number else ()
    return Resource(at(number), spec, needs, probe=Probe(stable_seconds=0.0), replace_on=frozenset({"image"}))

desired = Desired(tuple(resource(number) for number in range(count)))
reconciler = Reconciler(
    scope=Scope("bench", "here"), driver=FakeDriver(folder / "world.jsonl"), state_dir=folder / "state",
    secrets=lambda name: b"", who="bench",
)
begun = time.perf_counter()
if verb == "apply":
    assert reconciler.apply(lambda: desired).release == 1
else:
    assert reconciler.plan(lambda: desired).empty
print(json.dumps({"wall": time.perf_counter() - begun, "cpu": time.process_time()}))
"""


def _measure(verb: str, count: int, folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, verb, str(count), str(folder)], capture_output=True, check=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def run() -> list[Row]:
    """The rows of the engine."""
    cpu: dict[int, float] = {}
    rows = []
    for count in _SIZES:
        with tempfile.TemporaryDirectory() as folder:
            applied = _measure("apply", count, Path(folder))
            cpu[count] = min(_measure("plan", count, Path(folder))["cpu"] for _ in range(3))
        bar = 0.3 if count == 1000 else None
        rows.append(Row(f"plan of {count:,} resources, whole process, CPU", cpu[count], "s", bar))
        if count == 1000:
            rows.append(Row("apply of 1,000 resources, fsync on, wall", applied["wall"], "s", 5.0))
    rows.append(Row("plan of 5,000 over plan of 1,000", cpu[5000] / cpu[1000], "times", 6.0))
    return rows
