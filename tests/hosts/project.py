"""What `paictl render` writes for one host, played there by ansible-playbook alone: no driver, no paictl on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hosts.host import Host
from tests.hosts.lan import Refused

__all__ = ["Project", "Recap", "rendered"]

_BIN = Path(sys.executable).parent
_EXAMPLES = Path(__file__).parents[2] / "examples"
_COUNTS = re.compile(r"^\S+ +: +(ok=.*)$", re.MULTILINE)
_SECONDS = 600


@dataclass(frozen=True)
class Recap:
    """How a play ended: its exit code, what it said, and how many tasks were what."""

    code: int
    text: str
    counts: dict[str, int]

    @property
    def changed(self) -> list[str]:
        """The tasks that changed something, in their order."""
        tasks = re.findall(r"^TASK \[(.*?)\] \*+\n((?:(?!TASK \[|PLAY).*\n)*)", self.text, re.MULTILINE)
        return [name for name, said in tasks if re.search("^changed:", said, re.MULTILINE)]


@dataclass(frozen=True)
class Project:
    """The rendered folder and the host that it is for."""

    folder: Path
    host: Host
    agent: str = "atlas"

    def play(self, *options: str, book: str = "playbook.yaml", code: int = 0) -> Recap:
        """Run a playbook of the folder; it must end with that code."""
        known, more = self.folder.with_suffix(".known_hosts"), self.folder.with_suffix(".json")
        known.write_text(f"{self.host.address} {self.host.host_key}\n", encoding="ascii")
        password = self.host.password
        told = {"ansible_password": password, "ansible_become_password": password}
        told["ansible_ssh_common_args"] = f"-F none -o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes"
        more.write_text(json.dumps(told), encoding="utf-8")
        done = subprocess.run(
            [str(_BIN / "ansible-playbook"), book, "-e", f"@{more}", *options],
            cwd=self.folder,
            env={**os.environ, "ANSIBLE_HOME": str(self.folder.with_suffix(".home")), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
        text = done.stdout + done.stderr
        assert done.returncode == code, text[-6000:]
        found = _COUNTS.search(text)
        counts = dict(pair.split("=") for pair in found[1].split()) if found else {}
        return Recap(done.returncode, text, {name: int(number) for name, number in counts.items()})

    def only_the_runtime(self) -> str:
        """A playbook of that role alone; its name."""
        book = [{"hosts": "for_runtime", "become": True, "gather_facts": False, "roles": [{"role": "runtime"}]}]
        (self.folder / "runtime.json").write_text(json.dumps(book), encoding="utf-8")
        return "runtime.json"

    def variables(self) -> dict[str, Any]:
        """What the roles are told about the host."""
        from tests.render.reading import documents

        [told] = documents((self.folder / "host_vars" / "host.yaml").read_text(encoding="utf-8"))
        return dict(told)

    def ask(self, text: str) -> str:
        """What the agent answers to somebody on its host, in a conversation of its own."""
        token = self.host.exec(["cat", f"/etc/paictl/{self.agent}/secrets/gateway-token"]).strip()
        asked = {"model": self.agent, "messages": [{"role": "user", "content": text}]}
        command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "120", "--config", "-"]
        config = (
            f'header = "Authorization: Bearer {token}"\nheader = "Content-Type: application/json"\n'
            f"data = {json.dumps(json.dumps(asked))}\n"
        )
        answer = json.loads(self.host.exec([*command, "http://127.0.0.1:8700/v1/chat/completions"], config))
        return str(answer["choices"][0]["message"]["content"])

    def ready(self) -> bool:
        """Whether the agent has said hello and every model answers."""
        with suppress(Refused):
            return bool(json.loads(self.host.exec(["curl", "--silent", "http://127.0.0.1:8700/readyz"]))["ready"])
        return False

    def started(self) -> dict[str, str]:
        """The services by name, each with the id of its present start."""
        found = {}
        shown = ["--property=Id,InvocationID", f"paictl-{self.agent}-*.service"]
        for block in self.host.exec(["systemctl", "show", *shown]).strip().split("\n\n"):
            told = dict(line.split("=", 1) for line in block.splitlines())
            name = told["Id"].removeprefix(f"paictl-{self.agent}-").removesuffix(".service")
            found[name] = told["InvocationID"]
        return found


def rendered(folder: Path, host: Host) -> Project:
    """The quickstart's agent, as files for that host."""
    manifest, out = folder / "agent", folder / "rendered"
    shutil.copytree(_EXAMPLES / "quickstart", manifest)
    text = (manifest / "agent.yaml").read_text(encoding="utf-8")
    login = f"{{address: {host.address}, user: {host.user}}}"
    changed = text.replace("{driver: native}", f"{{driver: ansible, hosts: {{host: {login}}}}}", 1)
    assert changed != text
    (manifest / "agent.yaml").write_text(changed, encoding="utf-8")
    subprocess.run([_BIN / "paictl", "render", "--out", out, "--quiet"], cwd=manifest, check=True)
    return Project(out, host)
