"""Plays roles on a host as a person would: ansible-playbook, a playbook of a few lines, and the password or a key.

Used by the tests of roles. It knows nothing of paictl's driver.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paictl.assets import asset
from tests.hosts.host import Host

__all__ = ["Played", "Roles"]

_RECAP = re.compile(r"^\S+\s+: (ok=.*)$", re.MULTILINE)
_TASK = re.compile(r"^TASK \[(.*?)\] \**$")


@dataclass(frozen=True)
class Played:
    """What one run said: how many tasks were what, and the names of those that changed something."""

    code: int
    text: str
    counts: Mapping[str, int]
    changed: tuple[str, ...]

    def __post_init__(self) -> None:
        assert self.counts, self.text

    @property
    def ok(self) -> bool:
        """Whether nothing failed and the host was reached throughout."""
        return self.code == 0


@dataclass(frozen=True)
class Roles:
    """``host``, reached with its password, or with ``key``; ``folder`` is the run's own, ``roles`` where roles are found first.

    Connections are kept open between runs as paictl keeps them, so that what a cut or a reset means is the same.
    """

    host: Host
    folder: Path
    roles: Path | None = None
    key: Path | None = None

    def play(self, roles: Sequence[str], variables: Mapping[str, Any], *options: str, task: str = "main") -> Played:
        """Run these roles one after another, each from the task file ``task``."""
        tasks = [{"ansible.builtin.include_role": {"name": role, "tasks_from": task}, "name": role} for role in roles]
        whole = [{"role": role} for role in roles]
        body = {"roles": whole} if task == "main" else {"tasks": tasks}
        book = [{"hosts": "all", "become": True, "gather_facts": False, "vars": dict(variables), **body}]
        return self.run(book, *options)

    def run(self, book: Sequence[Mapping[str, Any]], *options: str) -> Played:
        """Run these plays."""
        known, inventory, playbook = (self.folder / name for name in ("known_hosts", "inventory.json", "play.json"))
        known.write_text(f"{self.host.address} {self.host.host_key}\n", encoding="ascii")
        login = {
            "ansible_host": self.host.address,
            "ansible_user": self.host.user,
            **(
                {"ansible_ssh_private_key_file": str(self.key)}
                if self.key
                else {"ansible_password": self.host.password}
            ),
            "ansible_become_password": self.host.password,
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes",
        }
        inventory.write_text(json.dumps({"all": {"hosts": {self.host.name: login}}}), encoding="utf-8")
        playbook.write_text(json.dumps(list(book)), encoding="utf-8")
        folders = [*([self.roles] if self.roles else []), asset("roles")]
        environment = {
            **os.environ,
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_ROLES_PATH": ":".join(map(str, folders)),
            "ANSIBLE_PIPELINING": "True",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_TIMEOUT": "5",
        }
        # By its path: ssh is told to ask it for the password.
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(playbook)]
        done = subprocess.run(
            [*command, *options],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        text = done.stdout + done.stderr
        recap = _RECAP.search(text)
        counts = (
            {key: int(value) for key, _, value in (pair.partition("=") for pair in recap[1].split())} if recap else {}
        )
        return Played(done.returncode, text, counts, tuple(_changed(text)))


def _changed(text: str) -> list[str]:
    found, task = [], ""
    for line in text.splitlines():
        if begun := _TASK.match(line):
            task = begun[1]
        elif line.startswith("changed: ") and task not in found:
            found.append(task)
    return found
