"""Runs every benchmark and prints one table. ``--check`` ends with 1 when a bar is missed; ``--write`` keeps the table."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from pathlib import Path

from bench.table import Lacking, Row, render

# In the order of the design's table. Each has ``run() -> list[Row]``.
MODULES = ("startup", "engine", "docker", "kubernetes", "ansible", "recall", "door")
# Held by another lane, where what it takes stands anyway, or measured by itself: a cluster or eleven hosts take minutes.
_HELD_ELSEWHERE = {
    "kubernetes": "the kubernetes lane holds its bar, in tests/kubernetes/test_story_quickstart.py",
    "ansible": "ratios of the wall clock, which only a machine with nothing else to do tells: python -m bench ansible --check",
}
_KEPT = Path(__file__).parent.parent / "docs" / "performance.md"
_BEGIN = "<!-- the last table of `make bench` -->\n"


def main() -> int:
    """Measure, print, and judge when asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("modules", nargs="*", help=f"which of: {', '.join(MODULES)}")
    parser.add_argument("--check", action="store_true", help="end with 1 when a bar is missed")
    parser.add_argument("--write", action="store_true", help="keep the table in docs/performance.md")
    asked = parser.parse_args()
    # What a person starts was compiled before; an environment for builds may forbid Python to keep that.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    rows: list[Row] = []
    skipped: list[str] = []
    for name in asked.modules or MODULES:
        if asked.check and not asked.modules and name in _HELD_ELSEWHERE:
            print(f"left out {name}: {_HELD_ELSEWHERE[name]}", file=sys.stderr)
            continue
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        try:
            rows += importlib.import_module(f"bench.{name}").run()
        except Lacking as why:
            skipped.append(f"{name}: {why}")
    table = render(rows)
    print(table)
    if asked.write:
        head, _, _ = _KEPT.read_text(encoding="utf-8").partition(_BEGIN)
        where = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        _KEPT.write_text(f"{head}{_BEGIN}\nOn {where}:\n\n{table}\n", encoding="utf-8")
    for line in skipped:
        print(f"skipped {line}", file=sys.stderr)
    missed = [row.what for row in rows if not row.holds]
    if missed:
        print(f"missed: {'; '.join(missed)}", file=sys.stderr)
    # On a machine for tests nothing may be left out.
    return int(asked.check and bool(missed or (skipped and os.environ.get("CI") == "true")))


if __name__ == "__main__":
    sys.exit(main())
