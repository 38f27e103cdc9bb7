"""What verbs share on the way to a target: which files, the checked manifest, the driver. Made anew by each run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from paictl.cli.console.failure import diagnostic_lines
from paictl.cli.flags import Call

if TYPE_CHECKING:
    from paictl.manifest.load import Manifest

__all__ = ["load_manifest", "manifest_files"]

_DEFAULT = "agent.yaml"


def manifest_files(call: Call) -> tuple[str, ...]:
    """The files that were named, or ``agent.yaml`` here; a directory means its ``agent.yaml``."""
    files = call.flags.files or (_DEFAULT,)
    return tuple(str(Path(file) / _DEFAULT) if file != "-" and Path(file).is_dir() else file for file in files)


def load_manifest(call: Call) -> Manifest:
    """The checked manifest; what is only a warning goes to stderr."""
    from paictl.manifest.load import load

    manifest = load(manifest_files(call), target=call.flags.target, env=os.environ)
    for warning in manifest.warnings:
        for line in diagnostic_lines(warning, call.terminal):
            call.terminal.note(line)
    return manifest
