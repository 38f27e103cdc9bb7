"""What a host is like, so that two moments can be compared: files, packages, users, units, firewall, kernel settings, sshd.

Used by the stories. What changes by itself, and ``/var/lib/paictl`` where data stays, is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.hosts.host import Host

__all__ = ["State", "differences", "state"]

State = Mapping[str, Mapping[str, object]]
"""Kind of thing -> name -> what it is like."""

_LISTER = Path(__file__).with_name("lister.py")


def state(host: Host) -> State:
    """As it is now."""
    told: State = json.loads(host.exec(["python3", "-I", "-"], _LISTER.read_text(encoding="utf-8")))
    return told


def differences(before: State, after: State) -> list[str]:
    """One line for each thing that is not as it was."""
    return [
        f"{kind} {name}: {before[kind].get(name, 'not there')} -> {after[kind].get(name, 'not there')}"
        for kind in before
        for name in sorted({*before[kind], *after[kind]})
        if before[kind].get(name) != after[kind].get(name)
    ]
