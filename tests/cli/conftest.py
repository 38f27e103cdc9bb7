"""The real executable in a world of its own: no file of this user's is read or written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PAICTL = Path(sys.executable).with_name("paictl")

MANIFEST = """\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {name: atlas, owner: alice}
spec:
  instructions: Be brief.
  targets:
    here: {driver: fake}
  models:
    chat: {task: chat, manage: external, url: "http://127.0.0.1:9/v1", model: tiny}
  memory:
    spaces: {personal: {class: private, retain: forever}}
"""


@dataclass(frozen=True)
class World:
    """A folder with a manifest, and homes of its own below ``root``."""

    root: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.root / "project"

    @property
    def manifest(self) -> Path:
        return self.folder / "agent.yaml"

    @property
    def state(self) -> Path:
        return self.root / "state" / "paictl"

    @property
    def faults(self) -> Path:
        """What the fake target does wrong."""
        return self.state / "atlas" / "here" / "fake" / "world.faults.json"

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of ours but what is needed to start."""
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_STATE_HOME": str(self.root / "state"),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "XDG_DATA_HOME": str(self.root / "data"),
        }
        return {**base, **self.env, **more}

    def run(self, *args: str, stdin: str | None = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``paictl`` to its end, away from any terminal."""
        return subprocess.run(
            [PAICTL, *args],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            cwd=self.folder,
            env=self.environment(**env),
            check=False,
            timeout=120,
        )

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """Start ``paictl`` and go on."""
        return subprocess.Popen(
            [PAICTL, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd=self.folder,
            env=self.environment(**env),
        )

    def document(self, *args: str, code: int = 0) -> Any:
        """The one JSON document that a verb prints."""
        done = self.run(*args, "-o", "json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def edit(self, old: str, new: str) -> None:
        """Change the manifest."""
        text = self.manifest.read_text()
        assert old in text
        self.manifest.write_text(text.replace(old, new))

    def fault(self, **faults: object) -> None:
        """Have the fake target do these things wrong."""
        self.faults.parent.mkdir(parents=True, exist_ok=True)
        self.faults.write_text(json.dumps(faults))


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.folder.mkdir()
    made.manifest.write_text(MANIFEST)
    return made
