"""The program: `make` as the timer's unit runs it, `restore SET` as root does with the agent stopped."""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path

from paictl.runtime.backup.restoring import restore
from paictl.runtime.backup.sets import BackupError, Plan, make, newest


def _plan(path: Path) -> Plan:
    told = json.loads(path.read_bytes())
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    return Plan(
        agent=told["agent"],
        base=Path(told["base"]),
        folders=told["folders"],
        # systemd hands the unit copies; whoever restores works on the originals.
        secrets=Path(given) if given else None,
        to=Path(told["to"]),
        recipients=told["recipients"],
        keep=told["keep"],
        due_seconds=told["due_seconds"],
    )


def _make(plan: Plan, *, at_once: bool) -> str:
    now = time.time()
    last = newest(plan)
    if not at_once and last is not None and 0 <= now - last < plan.due_seconds:
        return f"none is due: the last is of {time.strftime('%Y-%m-%d %H:%M', time.gmtime(last))} UTC"
    path = make(plan, now)
    return f"backed up to {path}, {path.stat().st_size} bytes"


def _restore(plan: Plan, asked: argparse.Namespace) -> str:
    identity = sys.stdin.read() if str(asked.identity) == "-" else asked.identity.read_text(encoding="utf-8")
    with asked.set.open("rb") as source:
        count, aside = restore(replace(plan, secrets=asked.secrets), source, identity)
    kept = f"; what was there is in {', '.join(map(str, aside))}" if aside else ""
    return f"restored {count} files{kept}"


def main() -> int:
    """Exit code 1 with a sentence on standard error when it failed."""
    parser = argparse.ArgumentParser(prog="python -m paictl.runtime.backup")
    parser.add_argument("--config", type=Path, required=True)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("make").add_argument("--now", action="store_true", help="whether one is due or not")
    restoring = verbs.add_parser("restore")
    restoring.add_argument("set", type=Path)
    restoring.add_argument("--identity", type=Path, default=Path("-"), help="an age identity file; - reads it")
    restoring.add_argument("--secrets", type=Path, help="where secrets that were generated go")
    asked = parser.parse_args()
    try:
        plan = _plan(asked.config)
        said = _make(plan, at_once=asked.now) if asked.verb == "make" else _restore(plan, asked)
    except (BackupError, OSError, sqlite3.Error) as error:
        sys.stderr.write(f"{'no backup' if asked.verb == 'make' else 'nothing restored'}: {error}\n")
        return 1
    sys.stdout.write(f"{said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
