"""Finds and reads the profiles that paictl ships: what a deployment model or a kind of hardware lays under a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paictl.assets import asset
from paictl.errors import PaictlError
from paictl.manifest.findings import Findings, TreePath
from paictl.manifest.merge import Layer
from paictl.manifest.source import Place, parse

__all__ = ["DEPLOYMENT_MODELS", "Floor", "Profile", "hardware_profiles", "read_profile"]

DEPLOYMENT_MODELS = ("edge", "private-cloud", "hybrid", "federated")


@dataclass(frozen=True, slots=True)
class Floor:
    """The most that later layers may allow: ``allowed`` patterns for the list or value at a path with ``*`` in it."""

    path: tuple[str, ...]
    allowed: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Profile:
    """A shipped layer with its floors."""

    name: str
    layer: Layer
    floors: tuple[Floor, ...]


def hardware_profiles() -> tuple[str, ...]:
    """The names a target's ``profile`` may have."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml") if path.stem not in DEPLOYMENT_MODELS))


def read_profile(name: str, findings: Findings) -> Profile:
    """Read a profile that exists. Its texts are known to ``findings`` afterwards, so that floors can be shown."""
    own = Findings()
    source = parse((_folder() / f"{name}.yaml").read_text(encoding="utf-8"), f"profiles/{name}.yaml", _folder(), own)
    findings.lines.update(own.lines)
    if source is None or own.errors:
        message = f"paictl's own profile {name} is damaged; reinstall paictl"
        raise PaictlError(message)
    tree = {key: value for key, value in source.tree.items() if key != "floor"}
    return Profile(
        name, Layer(tree, source.places, shipped=True), tuple(_floors(source.tree.get("floor"), source.places))
    )


def _floors(floor: Any, places: Mapping[TreePath, Place]) -> list[Floor]:
    entries = floor.items() if isinstance(floor, dict) else ()
    return [
        Floor(tuple(path.split(".")), tuple(str(each) for each in allowed), places["floor", path])
        for path, allowed in entries
    ]


def _folder() -> Path:
    return asset("profiles")
