"""Looks at what steps would change: their roles, in Ansible's check mode and with its diffs. Called by the driver for ``plan --diff``.

Nothing is written on a host, and no secret is read here or there: steps that carry one are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from paictl.drivers.ansible.blocks import SAID, Task, block, called, loaded, play
from paictl.drivers.ansible.convoy import Job
from paictl.drivers.ansible.diffs import differences, items
from paictl.drivers.ansible.hearing import HostRun, Told
from paictl.drivers.ansible.hosts import Hosts
from paictl.drivers.ansible.kinds import host_of, work_of
from paictl.drivers.ansible.running import run
from paictl.engine.model import Address, Resource, Step
from paictl.engine.preview import Preview, TaskPreview
from paictl.events import Emit

__all__ = ["preview"]

Variables = Callable[[Resource], Mapping[str, object]]
"""What a resource's role is told besides what its specification says."""

_MAKING = frozenset({"create", "update", "replace"})
# Ansible makes a directory for each task that could bring a file, before it knows that it won't: not in anybody's home, but where
# it is gone without a trace.
_PASSING = {"ansible_remote_tmp": "/dev/shm"}  # noqa: S108 - the directory in it has a random name, and is its maker's alone


def preview(hosts: Hosts, steps: Sequence[Step], variables: Variables, emit: Emit) -> dict[Address, Preview]:
    """What these steps would change, each as if those before it had not been made; see ``Previewing``."""
    making = {step.address: step.resource for step in steps if step.resource is not None and step.action in _MAKING}
    found: dict[Address, Preview] = {}
    shown = [one for one in making.values() if not work_of(one).secrets and one.address.kind != "secret"]
    for batch in _batches([(one, _looking(one, variables(one))) for one in shown]):
        jobs = [job for _, job in batch]
        names, files = loaded(jobs)
        roles = sorted({role for job in jobs for role in job.roles})
        plays = [{**play("Look ahead", roles), "vars": _PASSING}]
        came = run(hosts, plays, only=names, files=files, check=True, diff=True, emit=emit)
        for resource, job in batch:
            before = [str(one) for one in resource.depends_on if one in making]
            found[resource.address] = _told(job, came[job.host], before)
    return found


def _batches(jobs: Sequence[tuple[Resource, Job]]) -> list[list[tuple[Resource, Job]]]:
    """Into as few plays as can be: a file of one has one content. In which order is all the same, as nothing is made."""
    batches: list[list[tuple[Resource, Job]]] = []
    for resource, job in jobs:
        fitting = (batch for batch in batches if job.goes_with([other for _, other in batch]))
        batch = next(fitting, None)
        if batch is None:
            batches.append(batch := [])
        batch.append((resource, job))
    return batches


def _looking(resource: Resource, more: Mapping[str, object]) -> Job:
    work, address = work_of(resource), resource.address
    tasks = [_mark(_begin(str(address))), *called(address, work), _mark(_end(str(address)))]
    made = block(address, tasks, _mark(_trouble(str(address)), SAID), {**work.variables, **more})
    return Job(str(address), host_of(resource.spec), [made], frozenset({work.role}), work.files, facts=work.facts)


def _mark(name: str, said: str = "") -> Task:
    """A task that does nothing, to know whose tasks stand between two of them."""
    return {"name": name, "ansible.builtin.debug": {"msg": said}}


def _begin(job: str) -> str:
    return f"{job}: begin to look ahead"


def _end(job: str) -> str:
    return f"{job}: all of it was looked at"


def _trouble(job: str) -> str:
    return f"{job}: tell what can't be told"


def _told(job: Job, came: HostRun, before: Sequence[str]) -> Preview:
    names = [told.task for told in came.told]
    if _begin(job.name) not in names:
        return Preview(untold=came.unreachable or came.failed or "Ansible did not get that far")
    first = names.index(_begin(job.name)) + 1
    ends = (_end(job.name), _trouble(job.name))
    last = next((number for number, name in enumerate(names) if name in ends), len(names))
    tasks = tuple(_tasks(came.told[first:last]))
    if last == len(names):
        return Preview(tasks, came.unreachable or came.failed or "Ansible did not say what became of it")
    return Preview(tasks, "" if names[last] == ends[0] else _untold(str(came.told[last].result["msg"]), before))


def _untold(said: str, before: Sequence[str]) -> str:
    why = json.loads(said)
    what = f"{why['task']}: {_reason(why)}"
    return f"can't be told before {', '.join(before)} ({what})" if before else f"check mode can't tell it ({what})"


def _reason(why: Mapping[str, object]) -> str:
    if why["hidden"]:
        return "what it said may hold a secret"
    lines = [line for line in f"{why['msg']}\n{why['stderr']}".splitlines() if line.strip()]
    return lines[0].strip().rstrip(".") if lines else "it failed"


def _tasks(told: Sequence[Told]) -> Iterator[TaskPreview]:
    for one in told:
        parts = items(one.result)
        if one.result.get("failed"):
            continue
        if any(part.get("changed") for part in parts):
            yield TaskPreview(one.task, differences=differences(one.action, parts))
        elif one.would_run:
            yield TaskPreview(one.task, certain=False)
