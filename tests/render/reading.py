"""Rendered files as data, and on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

__all__ = ["documents", "manifests", "written"]


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in YAML(typ="safe").load_all(text) if document is not None]


def manifests(files: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Kubernetes object with the file it stands in; the kustomization is for kustomize, not for a cluster."""
    for path, text in files.items():
        if path.endswith(".yaml") and "/" not in path and path != "kustomization.yaml":
            yield from ((path, document) for document in documents(text))


def written(files: Mapping[str, str], folder: Path) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder
