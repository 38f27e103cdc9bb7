"""A person's home of their own for one story: where paictl is typed, with real services in real rooms below it.

``tests/docker/home.py`` has the one whose services are containers.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.ports import free_port

PAICTL = str(Path(sys.executable).with_name("paictl"))
EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass
class Home:
    """One person's directories and manifest; model files and the runtime are shared through the user's own cache."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    agent: str = "atlas"

    @property
    def manifest(self) -> Path:
        return self.folder / "agent" / "agent.yaml"

    @property
    def root(self) -> Path:
        """Where the agent stands."""
        return self.folder / "data" / "paictl" / self.agent

    def prepare(self) -> None:
        """The quickstart's manifest, on a port of its own."""
        self.copy("quickstart")
        self.edit("spec:\n", f"spec:\n  gateway: {{port: {self.port}}}\n")

    def copy(self, example: str) -> None:
        """An example's folder, as if nobody had applied it yet."""
        shutil.copytree(EXAMPLES / example, self.manifest.parent, ignore=shutil.ignore_patterns("agent.lock"))

    def edit(self, old: str, new: str) -> None:
        text = self.manifest.read_text(encoding="utf-8")
        assert old in text
        self.manifest.write_text(text.replace(old, new, 1), encoding="utf-8")

    def run(self, verb: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Type a command; ``code`` is what it must end with."""
        done = subprocess.run(
            [PAICTL, verb, *arguments],
            cwd=self.manifest.parent,
            env=self.surroundings(),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == code, f"paictl {verb}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, verb: str, *arguments: str, code: int = 0) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = json.loads(self.run(verb, *arguments, "-o", "json", code=code).stdout)
        return answer

    def chat(self, text: str, *arguments: str) -> str:
        return self.run("chat", *arguments, text).stdout

    @property
    def welcome(self) -> str:
        """What the first apply tells of the way to the agent."""
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def gateway(self) -> Iterator[str]:
        """The gateway's address, for as long as the block runs."""
        yield self.json("open")["url"]

    def steps(self) -> list[str]:
        """The addresses of what the next apply would do."""
        return sorted(step["address"] for step in self.json("plan")["steps"])

    def kept(self) -> list[str]:
        """What a destroy left because it holds data, as a person reads it from the status."""
        return [one["address"] for one in self.json("status")["others"] if one["state"] == "kept"]

    def running(self) -> dict[str, str]:
        """What runs, by service, told apart from what ran there before."""
        return {name: str(process.pid) for name, process in self.services().items()}

    def left(self) -> list[str]:
        """Everything of the agent's that is still there, but for the reconciler's own records."""
        places = (self.root, self.folder / "run")
        files = [str(path) for place in places for path in place.rglob("*") if not path.is_dir()]
        return [*(str(process) for process in self.everything()), *files]

    def services(self) -> dict[str, psutil.Process]:
        """The programs themselves, by service, as the operating system has them."""
        return dict(self._programs())

    def programs(self) -> list[str]:
        """The service of each program that runs: twice, if two of it run."""
        return [name for name, _ in self._programs()]

    def _programs(self) -> Iterator[tuple[str, psutil.Process]]:
        for process in psutil.process_iter(["cmdline"]):
            line = process.info["cmdline"] or []
            module = next((part for part in line if part.startswith("paictl.runtime.") and "boot" not in part), None)
            if module and "bwrap" not in line[0] and self._is_ours(process):
                yield line[line.index("--config") + 1].split("/")[1], process

    def _is_ours(self, process: psutil.Process) -> bool:
        """Whether the supervisor of this home is among its ancestors."""
        try:
            return any(str(self.root) in " ".join(parent.cmdline()) for parent in process.parents())
        except psutil.Error:
            return False

    def everything(self) -> list[psutil.Process]:
        """Every process of this home: the supervisor, its sandboxes, its services."""
        return [one for one in psutil.process_iter() if str(self.root) in _line(one) or self._is_ours(one)]

    def switch_off(self) -> None:
        """What a power cut leaves: no process, nothing on tmpfs."""
        # Again until nothing is left: what starts others may have done so after one had looked.
        while processes := self.everything():
            for process in processes:
                kill(process)
            psutil.wait_procs(processes, timeout=10)
        shutil.rmtree(self.folder / "run" / "paictl", ignore_errors=True)

    def surroundings(self) -> dict[str, str]:
        """The environment in which everything is typed."""
        # Workers of the tests are told a width; what is read here is not to be wrapped.
        ours = ("XDG_", "PAICTL_", "COLUMNS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {
            **kept,
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            **self.environment,
        }


def kill(process: psutil.Process) -> None:
    """``kill -9``; one that has ended by itself is as dead."""
    with suppress(psutil.NoSuchProcess):
        process.kill()


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
