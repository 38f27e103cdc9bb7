"""Rendered files as data, and on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from paictl.blueprint.types import Blueprint
from paictl.render import kubernetes

__all__ = ["documents", "manifests", "objects", "written"]


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in YAML(typ="safe").load_all(text) if document is not None]


def manifests(files: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Kubernetes object with the file it stands in: what `kubectl apply -f` takes."""
    for path, text in files.items():
        if path.endswith(".yaml") and "/" not in path:
            yield from ((path, document) for document in documents(text))


_READ: dict[int, tuple[Blueprint, list[dict[str, Any]]]] = {}


def objects(blueprint: Blueprint) -> list[dict[str, Any]]:
    """Every Kubernetes object of a blueprint; read once, and a copy of its own for each who asks."""
    if id(blueprint) not in _READ:
        # The blueprint is kept, so that no other one gets its number.
        _READ[id(blueprint)] = blueprint, [one for _, one in manifests(kubernetes.files(blueprint))]
    return deepcopy(_READ[id(blueprint)][1])


def written(files: Mapping[str, str], folder: Path) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder
