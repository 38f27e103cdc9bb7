"""Finds and reads the profiles that paictl ships: what a deployment model or a kind of hardware lays under a manifest.

A profile is a piece of a manifest with two additions. ``floor:`` maps paths (``*`` stands for any name) to the most that
later layers may allow there. Below ``spec.models``, ``task:chat`` stands for every local chat model of the manifest, and
below ``spec.targets``, ``*`` for the target that is applied, since a profile can't know their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paictl.assets import asset
from paictl.errors import PaictlError
from paictl.manifest.findings import Findings, TreePath
from paictl.manifest.merge import Layer
from paictl.manifest.source import Place, Source, parse
from paictl.manifest.tree import entries, mapping_at

__all__ = ["DEPLOYMENT_MODELS", "Floor", "Profile", "hardware_profiles", "read_offer", "read_profile"]

# What only the controllers of Ingresses know.
_OF_CONTROLLERS = frozenset({"class", "annotations"})

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


def read_profile(name: str, user: Mapping[str, Any], target: str, findings: Findings) -> Profile:
    """Read a profile that exists, for the models and the target of a person's merged files.

    Its text is known to ``findings`` afterwards, so that its lines can be shown.
    """
    source = _read(name, findings)
    tree, places = {"spec": dict(mapping_at(source.tree, "spec"))}, dict(source.places)
    defaults = mapping_at(tree, "spec", "models")
    if defaults:
        tree["spec"]["models"] = _for_models(defaults, user, places)
    if "targets" in tree["spec"]:
        tree["spec"]["targets"] = _for_target(tree, user, target, places)
    layer = Layer(tree, places, shipped=True)
    return Profile(name, layer, tuple(_floors(source.tree.get("floor"), source.places)))


def read_offer(name: str, user: Mapping[str, Any], target: str, findings: Findings) -> Profile:
    """Of a profile that exists, only what its hardware offers to a target that is not the one applied: it is checked, too."""
    source = _read(name, findings)
    places = dict(source.places)
    tree = {"spec": {"targets": _for_target(source.tree, user, target, places)}}
    return Profile(name, Layer(tree, places, shipped=True), ())


def _read(name: str, findings: Findings) -> Source:
    own = Findings()
    source = parse((_folder() / f"{name}.yaml").read_text(encoding="utf-8"), f"profiles/{name}.yaml", _folder(), own)
    findings.lines.update(own.lines)
    if source is None or own.errors:
        message = f"paictl's own profile {name} is damaged; reinstall paictl"
        raise PaictlError(message)
    return source


def _for_models(
    defaults: Mapping[str, Any], user: Mapping[str, Any], places: dict[TreePath, Place]
) -> dict[str, dict[str, Any]]:
    """``task:chat`` and the like, as what they mean for each local model; ``places`` is completed."""
    models: dict[str, dict[str, Any]] = {}
    for path, name, model in entries(user, "spec", "models"):
        key = f"task:{model.get('task')}"
        default = mapping_at(defaults, key)
        if not default or not ("select" in model or "source" in model):
            continue
        own_context = "context" in mapping_at(model, "select")
        # What the person said about the same thing in other words comes first.
        skipped = {"select"} if "select" not in model else {"context"} if own_context else set[str]()
        models[name] = {field: value for field, value in default.items() if field not in skipped}
        shared: TreePath = ("spec", "models", key)
        below = [(place_path, place) for place_path, place in places.items() if place_path[:3] == shared]
        places.update({(*path, *place_path[3:]): place for place_path, place in below})
    return models


def _for_target(
    profile: Mapping[str, Any], user: Mapping[str, Any], target: str, places: dict[TreePath, Place]
) -> dict[str, dict[str, Any]]:
    """What this kind of hardware offers to a target; ``places`` is completed."""
    offered = mapping_at(profile, "spec", "targets", "*")
    asked = mapping_at(user, "spec", "targets", target)
    match asked.get("driver"):
        case "kubernetes":
            found = {"cluster": _cluster(mapping_at(offered, "cluster"), mapping_at(asked, "cluster"))}
        case "ansible":
            found = {key: offered[key] for key in ("machine", "system") if key in offered}
        case _:
            return {}
    shared: TreePath = ("spec", "targets", "*")
    below = [(path, place) for path, place in places.items() if path[:3] == shared]
    places.update({("spec", "targets", target, *path[3:]): place for path, place in below})
    return {target: found}


def _cluster(offered: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a cluster of this kind offers. A way in is opened by nobody but the person: a profile only completes what they say of it."""
    ingress = mapping_at(asked, "ingress")
    opened = "ingress" in asked
    cluster = {key: value for key, value in offered.items() if key != "ingress" or opened}
    if ingress.get("kind", "ingress") != "ingress" and "ingress" in cluster:
        cluster["ingress"] = {key: value for key, value in cluster["ingress"].items() if key not in _OF_CONTROLLERS}
    return cluster


def _floors(floor: Any, places: Mapping[TreePath, Place]) -> list[Floor]:
    entries = floor.items() if isinstance(floor, dict) else ()
    return [
        Floor(tuple(path.split(".")), tuple(str(each) for each in allowed), places["floor", path])
        for path, allowed in entries
    ]


def _folder() -> Path:
    return asset("profiles")
