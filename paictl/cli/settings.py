"""Flags that need not be typed each time: the project's, the user's and the system's configuration files.

Read when a verb is called. What they set is overridden by the environment and by flags; consent can't be set in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from paictl import places

__all__ = ["default_flags"]

# --yes is not here: a file that came with a repository must not consent for the person. -v and -q belong to one run.
_KEYS = ("target", "driver", "output", "locked", "offline", "state-dir", "timeout", "lock-timeout", "no-color")


def default_flags() -> dict[str, object]:
    """Click's defaults: the system's file, then the user's over it, then the project's (``.paictl.yaml`` here)."""
    flags: dict[str, object] = {}
    for path in (Path("/etc/paictl/config.yaml"), places.config_home() / "config.yaml", Path(".paictl.yaml")):
        if path.is_file():
            flags |= {key.replace("-", "_"): value for key, value in _read(path).items()}
    return flags


def _read(path: Path) -> Mapping[str, object]:
    from paictl.manifest.findings import Findings, nearest
    from paictl.manifest.source import parse

    findings = Findings()
    source = parse(path.read_text(encoding="utf-8"), str(path), path.parent, findings)
    tree = source.tree if source is not None else {}
    for key in tree:
        if key not in _KEYS:
            span = source.places[key,].key if source is not None else None
            findings.add("unknown-key", f"`{key}` can't be set in a file", span, advice=nearest(key, _KEYS, "keys"))
    findings.raise_errors(str(path))
    return tree
