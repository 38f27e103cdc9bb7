"""Hosts for developing, by hand: ``python -m tests.hosts start``, which prints how each is reached.

They run until ``stop``, which also forgets their disks.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.hosts import host, needs, roots
from tests.hosts.lan import Lan


def _start(asked: argparse.Namespace) -> str:
    needs.install()
    if reason := needs.lacking():
        sys.exit(reason)
    lan = Lan(asked.directory)
    if not lan.running:
        lan.forget()
        lan.begin(None)
    for number in range(1, asked.hosts + 1):
        if not (lan.directory / f"host{number}").exists():
            host.begin(lan, f"host{number}", online=not asked.offline)
    return _status(asked)


def _stop(asked: argparse.Namespace) -> str:
    Lan(asked.directory).end()
    return ""


def _status(asked: argparse.Namespace) -> str:
    lan = Lan(asked.directory)
    if not lan.running:
        return "none runs there"
    plans = (json.loads(plan.read_text(encoding="ascii")) for plan in sorted(lan.directory.glob("*/plan.json")))
    return "\n".join(
        f"{plan['name']}: ssh {plan['user']}@{plan['address']}, password {plan['password']}, key in {plan['key']}.pub"
        for plan in plans
    )


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts")
    parser.add_argument("--directory", type=lambda path: Path(path).absolute(), default=roots.home() / "kept")
    verbs = parser.add_subparsers(required=True)
    start = verbs.add_parser("start", help="begin those that do not run, and make what they begin with")
    start.add_argument("--hosts", type=int, default=1)
    start.add_argument("--offline", action="store_true", help="they reach this machine and each other only")
    start.set_defaults(do=_start)
    verbs.add_parser("stop", help="end them, and forget their disks").set_defaults(do=_stop)
    verbs.add_parser("status", help="how each is reached").set_defaults(do=_status)
    asked = parser.parse_args()
    print(asked.do(asked))


if __name__ == "__main__":
    _main()
