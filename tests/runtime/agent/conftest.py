"""An agent in a process of its own, in front of a gateway that the test watches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.agent.gateway import TOKEN, Gateway, until

REPOSITORY = Path(__file__).parents[3]


@dataclass
class Room:
    """A root directory with an agent in it, and the gateway's socket."""

    root: Path
    gateway: Gateway
    config: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> Path:
        return self.root / "data/agent/workflows.db"

    @property
    def log(self) -> str:
        return (self.root / "agent.log").read_text()

    def start(self, **changes: Any) -> None:
        """Start it, and wait until it said hello."""
        self.config.update(changes)
        (self.root / "config/agent/agent.json").write_text(json.dumps(self.config))
        hellos = len(self.gateway.hellos)
        with (self.root / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "paictl.runtime.agent",
                    "--root",
                    str(self.root),
                    "--config",
                    "config/agent/agent.json",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
            )
        until(lambda: len(self.gateway.hellos) > hellos, "the agent says hello", 60)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(20)


@pytest.fixture
def room() -> Iterator[Room]:
    # A Unix socket's path is short; pytest's own folders may not be.
    with tempfile.TemporaryDirectory(prefix="room") as folder:
        root = Path(folder)
        for name in ("config/agent", "data/agent", "secrets", "run/gateway"):
            (root / name).mkdir(parents=True)
        (root / "secrets/agent-token").write_text(TOKEN)
        (root / "secrets/checkpoint-key").write_text("0123456789abcdef" * 2)
        room = Room(
            root,
            Gateway(root / "run/gateway/inner.sock").start(),
            {
                "agent": "atlas",
                "owner": "alice",
                "gateway": "unix:run/gateway/inner.sock",
                "application_version": "one",
                "instructions": "You are Atlas.",
                "context": 2048,
            },
        )
        yield room
        if room.process is not None and room.process.poll() is None:
            room.kill()
        room.gateway.stop()
