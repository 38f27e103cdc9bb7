"""A folder with a small manifest in it, and ways to change and load it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from paictl.errors import Diagnostic, ManifestError
from paictl.manifest.load import Manifest, load

SMALL = """\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {name: atlas, owner: alice}
spec:
  deployment: {target: laptop}
  targets:
    laptop: {driver: native}
    desk: {driver: docker}
  models:
    chat: {task: chat, select: {}}
"""


@dataclass
class Folder:
    path: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def load(self, *files: str, target: str | None = None, env: Mapping[str, str] | None = None) -> Manifest:
        return load(files or ["agent.yaml"], target=target, env=self.env if env is None else env, cwd=self.path)

    def errors(self, *files: str, target: str | None = None) -> tuple[Diagnostic, ...]:
        with pytest.raises(ManifestError) as raised:
            self.load(*files, target=target)
        return tuple(raised.value.diagnostics)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.write("agent.yaml", SMALL)
    return made
