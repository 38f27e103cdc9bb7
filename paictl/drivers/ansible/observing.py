"""One look at all hosts of a target: one run of Ansible, one task of our own. Called by the driver; changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paictl.drivers.ansible import records
from paictl.drivers.ansible.hosts import Hosts
from paictl.drivers.ansible.inventory import GROUP
from paictl.engine.driver import Scope
from paictl.engine.model import Observation
from paictl.errors import Unreachable
from paictl.events import Emit, ignore

__all__ = ["Looked", "look"]

_TASK = "Look at what stands"


@dataclass(frozen=True)
class Looked:
    """What a look came to; ``machines`` are the facts of each host that was reached."""

    observation: Observation
    machines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def look(hosts: Hosts, scope: Scope, emit: Emit = ignore) -> Looked:
    """Everything of this agent; raises ``Unreachable`` when not one host could be read."""
    from paictl.drivers.ansible.running import run

    task = {"name": _TASK, "paictl_look": {"agent": scope.agent, "target": scope.target}}
    play = {"name": "Look", "hosts": GROUP, "become": True, "gather_facts": False, "tasks": [task]}
    found, machines, away = [], {}, {}
    for host, came in run(hosts, [play], check=True, emit=emit).items():
        if not came.ok:
            # What can't be read can't be planned for, whoever it was that refused.
            why = came.unreachable or came.failed
            away[host] = f"{why}. {came.help}".rstrip(". ") if came.help else why
            continue
        told = came.results[_TASK]
        machines[host] = told["machine"]
        found += [records.observed(scope, host, one) for one in told["records"]]
        found += [records.stray(scope, host, one) for one in told["strays"]]
    if away and not machines:
        raise Unreachable(
            "; ".join(away.values()) if len(away) == 1 else f"no host can be read: {'; '.join(away.values())}",
            help="Nothing is concluded from that, and nothing was changed.",
        )
    return Looked(Observation(tuple(found), away), machines)
