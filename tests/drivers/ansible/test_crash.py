"""One life of an agent on a host, killed with -9 at each kind of moment: the next run goes on from there, and leaves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from paictl.engine.codec import resource_to_json
from paictl.engine.model import Resource
from tests.drivers.ansible.conftest import Reconciling
from tests.drivers.ansible.stack import Stack
from tests.engine.graphs import wanting

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.promise(14), pytest.mark.timeout(900)]

_LIVES = ()
_TO_LIFE = (
    ("after-begin", "runtime/small"),
    ("after-effect", "volume/memory"),
    ("task", "Install the unit"),
    ("after-end", "service/gateway"),
    _LIVES,
)
_TO_CHANGE = (("task", "Run it"), ("after-effect", "service/gateway"), _LIVES)
_TO_AN_END = (
    ("task", "service/gateway: write down how it was left"),
    ("after-effect", "volume/memory"),
    _LIVES,
)


class _Life:
    def __init__(self, stack: Stack, state: Path) -> None:
        self._stack, self._state = stack, state

    @property
    def wanted(self) -> list[Resource]:
        return [one for one in self._stack.resources() if one.address.name != "agent"]

    def run(self, verb: str, at: tuple[str, ...]) -> None:
        """One process to its end, or to its death at that moment."""
        reached, scope = self._stack.reached, self._stack.scope
        order: dict[str, Any] = {
            "verb": verb,
            "at": at,
            "agent": scope.agent,
            "target": scope.target,
            "logins": [asdict(one) for one in reached.logins.values()],
            "keys": str(reached.state),
            "password": self._stack.host.password,
            "state": str(self._state),
            "desired": [resource_to_json(one) for one in self.wanted],
        }
        command = [sys.executable, "-m", "tests.drivers.ansible.killed"]
        done = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, check=False)
        assert done.returncode == (-9 if at else 0), f"{verb} at {at}: {done.returncode} {done.stderr[-2000:]}"

    def diary(self, text: str = "") -> str:
        path = f"/var/lib/paictl/{self._stack.agent}/data/memory/diary"
        if text:
            self._stack.host.exec(["sh", "-c", f"echo '{text}' >{path}"])
        return self._stack.host.exec(["cat", path]).strip()


def test_whatever_kills_paictl_the_next_run_goes_on_from_there(
    stack: Stack, reconciler: Reconciling, tmp_path: Path
) -> None:
    life = _Life(stack, tmp_path / "state")
    for moment in _TO_LIFE:
        life.run("apply", moment)
    assert reconciler().plan(wanting(life.wanted)).empty
    assert reconciler().status().ready
    assert life.diary("dear") == "dear"
    stack.say["gateway"] = "something else"
    for moment in _TO_CHANGE:
        life.run("apply", moment)
    assert reconciler().plan(wanting(life.wanted)).empty
    unit = stack.unit("gateway")
    assert stack.host.exec(["systemctl", "is-active", unit]) == "active\n"
    assert life.diary() == "dear"
    for moment in _TO_AN_END:
        life.run("destroy", moment)
    assert stack.leftovers() == []
