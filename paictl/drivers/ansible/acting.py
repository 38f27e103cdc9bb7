"""Carries out steps on hosts: each a block of a play that keeps what was there, calls its role, and writes down how that was left.

Called by the driver from several threads at once; what they want goes together (``convoy``). A block that fails is rescued, so that
it ends no other; a host that goes away in the middle fails its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paictl.assets import asset
from paictl.drivers.ansible import records
from paictl.drivers.ansible.blocks import SAID, Task, block, called, loaded, play
from paictl.drivers.ansible.convoy import Convoy, Job
from paictl.drivers.ansible.hearing import HostRun
from paictl.drivers.ansible.hosts import Hosts
from paictl.drivers.ansible.kinds import host_of, manages_of, work_of
from paictl.drivers.ansible.logs import unit_name
from paictl.drivers.ansible.running import run
from paictl.engine.driver import Scope, SecretReader
from paictl.engine.logend import with_log
from paictl.engine.model import Address, Observed, Resource, Step
from paictl.errors import PaictlError, Unreachable
from paictl.events import Emit, ignore

__all__ = ["Acting", "Given"]


@dataclass(frozen=True)
class Given:
    """What a step may use: who reads secrets, who listens, and variables of its role that are known only now."""

    secrets: SecretReader
    emit: Emit
    variables: Mapping[str, object] = field(default_factory=dict)


class Acting:
    """The hosts of one target, and the one play at a time that runs on them."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._emit: Emit = ignore
        self._convoy: Convoy[HostRun] = Convoy(self._drive)

    def act(self, scope: Scope, step: Step, given: Given) -> None:
        """One step, to its end; raises ``Unreachable`` or ``PaictlError`` for what happened to it, and to no other."""
        self._emit = given.emit
        if step.observed is not None and step.action in {"delete", "replace"}:
            self._carry(_removal(scope, step.observed))
        if step.resource is not None and step.action != "delete":
            self._carry(_making(scope, step.resource, step.fingerprint, given))

    def adopt(self, scope: Scope, observed: Observed) -> None:
        """Write a record of what stands, and change nothing else."""
        self._carry(_adoption(scope, observed))

    def _carry(self, job: Job) -> None:
        _judge(job, self._convoy.carry(job))

    def _drive(self, jobs: Sequence[Job]) -> Sequence[HostRun]:
        hosts, files = loaded(jobs)
        roles = sorted({role for job in jobs for role in job.roles})
        came = run(self._hosts, [play("Carry out", roles)], only=hosts, files=files, emit=self._emit)
        return [came[job.host] for job in jobs]


def _making(scope: Scope, resource: Resource, label: str, given: Given) -> Job:
    work, address = work_of(resource), resource.address
    written = records.packed(records.record(scope, resource, label))
    keep = {"record": written, "manages": f"{{{{ {work.manages} }}}}"}
    tasks: list[Task] = [
        {"name": f"{address}: keep what was there", "paictl_keep": {"phase": "begin", **keep}},
        *called(address, work),
        {"name": _end(address), "paictl_keep": {"phase": "finish", **keep}},
    ]
    files: dict[str, str | bytes] = dict(work.files)
    # At the last moment, and into memory only.
    files |= {f"secrets/{name}": given.secrets(name) for name in work.secrets}
    made = _block(address, tasks, str(resource.spec.get("unit", "")), {**work.variables, **given.variables})
    return Job(str(address), host_of(resource.spec), [made], frozenset({work.role}), files, facts=work.facts)


def _removal(scope: Scope, observed: Observed) -> Job:
    address = observed.address
    role, tasks, _ = manages_of(address)
    ending = "remove" if tasks == "main" else f"remove_{tasks}"
    key = records.packed(records.key(scope, address))
    steps: list[Task] = [{"name": _end(address), "paictl_keep": {"phase": "remove", "record": key}}]
    roles: frozenset[str] = frozenset()
    variables: Mapping[str, object] = {}
    if _has(role, f"{ending}.yml"):
        roles, variables = frozenset({role}), _variables(observed)
        name = f"{address}: before it goes"
        steps = [
            {"name": f"{address}: keep how it is", "paictl_keep": {"phase": "leave", "record": key}},
            {"name": name, "ansible.builtin.include_role": {"name": role, "tasks_from": ending}},
            *steps,
        ]
    made = _block(address, steps, str(observed.spec.get("unit", "")), variables)
    return Job(str(address), observed.place or host_of(observed.spec), [made], roles)


def _variables(observed: Observed) -> Mapping[str, object]:
    """As the role had them when it made this."""
    return work_of(Resource(observed.address, observed.spec)).variables


def _has(role: str, file: str) -> bool:
    try:
        return asset("roles", role, "tasks", file).is_file()
    except FileNotFoundError:
        return False


def _adoption(scope: Scope, observed: Observed) -> Job:
    address = observed.address
    spec = {"agent": scope.agent, "host": observed.place}
    if address.kind == "service":
        spec["unit"] = unit_name(scope.agent, address.name)
    # Without a label: how it was made is not known.
    written = records.record(scope, Resource(address, spec, holds_data=address.kind == "volume"), "")
    keep = {"phase": "adopt", "record": records.packed(written), "manages": _stands_at(scope.agent, address)}
    made = _block(address, [{"name": _end(address), "paictl_keep": keep}], "", {})
    return Job(str(address), observed.place, [made])


def _stands_at(agent: str, address: Address) -> Mapping[str, list[str]]:
    """What of it was there to be found."""
    unit = unit_name(agent, address.name)
    return {
        "secret": {"files": [f"/etc/paictl/{agent}/secrets/{address.name}"]},
        "service": {"files": [f"/etc/systemd/system/{unit}"], "units": [unit]},
        "volume": {"trees": [f"/var/lib/paictl/{agent}/data/{address.name}"]},
    }[address.kind]


def _block(address: Address, tasks: Sequence[Task], unit: str, variables: Mapping[str, object]) -> Task:
    rescue = {"name": _trouble(address), "paictl_keep": {"phase": "explain", "unit": unit, "said": SAID}}
    return block(address, tasks, rescue, variables)


def _end(address: Address) -> str:
    return f"{address}: write down how it was left"


def _trouble(address: Address) -> str:
    return f"{address}: tell what went wrong"


def _judge(job: Job, came: HostRun) -> None:
    """What came of one job, whatever became of the others of its play; returns when it is done."""
    end = came.results.get(f"{job.name}: write down how it was left")
    if end is not None and not end.get("failed") and not end.get("unreachable"):
        return
    told = came.results.get(f"{job.name}: tell what went wrong")
    if told is not None and "said" in told:
        raise _explained(job, told)
    if came.unreachable:
        raise Unreachable(came.unreachable, help=came.help or "See that the host is on, and apply again.")
    raise PaictlError(
        came.failed or f"{job.host}: {job.name} was not carried out",
        help=came.help or "See the task's own words above.",
    )


def _explained(job: Job, told: Mapping[str, Any]) -> PaictlError:
    import json

    said: Mapping[str, Any] = json.loads(told["said"])
    what = said["task"] or job.name
    if said["hidden"]:
        why = "it failed, and what it said may hold a secret"
    else:
        lines = [line for line in str(said["stderr"]).splitlines() if line.strip()][-3:]
        texts = [str(said["msg"]), *(str(one) for one in said["each"]), *lines]
        why = "; ".join(dict.fromkeys(text.strip().rstrip(".") for text in texts if text.strip())) or "it failed"
    summary = f"{job.host}: {what}: {why}"
    return PaictlError(
        with_log(summary, told["log"]) if told["log"] else summary, help="Mend it there, and apply again."
    )
