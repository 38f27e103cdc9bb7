"""Plays one role on several hosts at once, as the driver does. For the tests of what hosts have to do with each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paictl.drivers.ansible.hearing import HostRun
from paictl.drivers.ansible.hosts import Hosts, Login
from paictl.drivers.ansible.running import run
from tests.hosts.host import Host

__all__ = ["Variables", "applied", "logins", "played"]

Variables = Mapping[str, object]


@contextmanager
def logins(hosts: Mapping[str, Host], state: Path) -> Iterator[Hosts]:
    """How they are logged in to, each by the name that it has in the inventory; connections are closed afterwards."""
    found = {name: Login(name, one.address, one.user, one.port, one.host_key) for name, one in hosts.items()}
    made = Hosts(found, lambda name, use: None if use == "asked" else hosts[name].password, state)
    try:
        yield made
    finally:
        made.close()


def played(hosts: Hosts, role: str, variables: Mapping[str, Variables], tasks: str = "main") -> Mapping[str, HostRun]:
    """What came of it, host by host; each has its own variables, and all run at once."""
    steps: list[dict[str, Any]] = [
        {
            "name": f"{role} of {name}",
            "ansible.builtin.include_role": {"name": role, "tasks_from": tasks},
            "vars": told,
            "when": f"inventory_hostname == '{name}'",
        }
        for name, told in variables.items()
    ]
    play = {"hosts": "agent", "become": True, "gather_facts": False, "strategy": "free", "tasks": steps}
    return run(hosts, [play], only=tuple(variables))


def applied(hosts: Hosts, role: str, variables: Mapping[str, Variables], tasks: str = "main") -> set[str]:
    """The names of the tasks that changed something; fails where the role does."""
    found = played(hosts, role, variables, tasks)
    for name, one in found.items():
        assert one.ok, f"{name}: {one.unreachable or one.failed}"
    return {task for one in found.values() for task, result in one.results.items() if result.get("changed")}
