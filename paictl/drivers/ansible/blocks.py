"""What a step is in a play: a block that calls its role, and the play around all of them. Pure; used by ``acting``, ``previewing``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paictl.assets import asset
from paictl.drivers.ansible.convoy import Job
from paictl.drivers.ansible.inventory import GROUP
from paictl.drivers.ansible.kinds import Work
from paictl.drivers.ansible.writing import Literals, tasks_text
from paictl.engine.model import Address

__all__ = ["SAID", "Task", "block", "called", "loaded", "play"]

Task = Mapping[str, Any]

SAID = """{{ {
  'task': ansible_failed_task.name | default(''),
  'hidden': (ansible_failed_task.no_log | default(false)) is true,
  'msg': ansible_failed_result.msg | default(''),
  'stderr': ansible_failed_result.stderr | default(''),
  'each': ansible_failed_result.results | default([]) | selectattr('failed', 'defined') | selectattr('failed')
    | map(attribute='msg', default='') | list
} | to_json if (ansible_failed_task.no_log | default(false)) is not true else
{'task': ansible_failed_task.name | default(''), 'hidden': true} | to_json }}"""
"""In a rescue: what failed, without what Ansible itself would not show."""


def play(name: str, roles: Sequence[str]) -> dict[str, Any]:
    """Each host goes on as fast as it can. The roles are named once, unused, so that their variables are known to every block."""
    # What they manage is told by variables of theirs, which no task may set: they are the same before a role's tasks and after.
    known = [
        {"ansible.builtin.import_role": {"name": role, "rolespec_validate": False}, "tags": ["never"]} for role in roles
    ]
    manages = [asset("roles", role, "vars", "manages.yml") for role in roles]
    return {
        "name": name,
        "hosts": GROUP,
        "become": True,
        "gather_facts": False,
        "strategy": "ansible.builtin.free",
        "vars_files": [str(path) for path in manages],
        "tasks": [*known, {"name": "Begin", "ansible.builtin.include_tasks": "steps/{{ inventory_hostname }}.yaml"}],
    }


def loaded(jobs: Sequence[Job]) -> tuple[tuple[str, ...], dict[str, str | bytes]]:
    """The hosts of some jobs, and the files of their play: one of tasks a host, and those of the jobs themselves."""
    files: dict[str, str | bytes] = {}
    blocks: dict[str, list[Task]] = {}
    for job in jobs:
        files |= job.files
        mine = blocks.setdefault(job.host, [])
        if job.facts and not any("ansible.builtin.setup" in one for one in mine):
            mine.append({"name": "Read what the host is like", "ansible.builtin.setup": {}})
        mine += job.tasks
    return tuple(blocks), files | {f"steps/{host}.yaml": tasks_text(tasks) for host, tasks in blocks.items()}


def called(address: Address, work: Work) -> list[Task]:
    """The tasks of a step's role."""
    role = {"name": work.role, "tasks_from": work.tasks}
    # Handlers belong to the step that notified them: what it left is written down after them.
    return [
        {"name": str(address), "ansible.builtin.include_role": role},
        {"name": f"{address}: finish what was notified", "ansible.builtin.meta": "flush_handlers"},
    ]


def block(address: Address, tasks: Sequence[Task], rescue: Task, variables: Mapping[str, object]) -> Task:
    """A step's tasks, with what its role is told; what fails in it is its own alone."""
    return {
        "name": str(address),
        "vars": Literals(variables),
        "block": list(tasks),
        "rescue": [rescue],
    }
