"""The driver's own modules by hand, on a real host: kept, changed by somebody, looked at, put back. For the tests of keeping."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paictl.drivers.ansible.records import packed
from paictl.drivers.ansible.running import run
from tests.drivers.ansible.stack import Shared

__all__ = ["Keeper"]

Manages = Mapping[str, Sequence[str]]


@dataclass
class Keeper:
    """One agent on the shared host that keeps things there without any role. ``name`` is its agent's, and its record's."""

    shared: Shared
    name: str = field(default_factory=lambda: f"k{secrets.token_hex(4)}")

    def ask(self, module: str, arguments: Mapping[str, object]) -> Mapping[str, Any]:
        """One task; what it answered, or ``failed`` with ``msg``."""
        play = {
            "hosts": "all",
            "become": True,
            "gather_facts": False,
            "tasks": [{"name": "Ask", module: dict(arguments)}],
        }
        return run(self.shared.reached, [play])[self.shared.host.name].results["Ask"]

    def keep(self, phase: str, manages: Manages, kind: str = "base", label: str = "v1:00") -> Mapping[str, Any]:
        record = {
            "agent": self.name,
            "target": "here",
            "kind": kind,
            "name": "it",
            "fingerprint": label,
            "spec": {"agent": self.name},
            "depends_on": [],
            "holds_data": False,
        }
        return self.ask("paictl_keep", {"phase": phase, "record": packed(record), "manages": dict(manages)})

    def begin(self, manages: Manages) -> None:
        assert not self.keep("begin", manages).get("failed")

    def finish(self, manages: Manages) -> None:
        assert not self.keep("finish", manages).get("failed")

    def remove(self) -> None:
        found = self.keep("remove", {})
        assert not found.get("failed"), found["msg"]

    def look(self) -> Mapping[str, Any]:
        return self.ask("paictl_look", {"agent": self.name, "target": "here"})

    def drift(self) -> Mapping[str, str]:
        """What is not as it was left."""
        (record,) = self.look()["records"]
        found: Mapping[str, str] = record["drift"]
        return found

    def root(self, script: str) -> str:
        """As root of the host."""
        return self.shared.host.exec(["sh", "-ec", script]).strip()
