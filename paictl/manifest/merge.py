"""Lays the layers of a manifest over each other by RFC 7396 (JSON Merge Patch), keeping where every value came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from paictl.errors import Span
from paictl.manifest.findings import TreePath
from paictl.manifest.source import Place

__all__ = ["Layer", "Merged", "Origins", "merge"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A tree to be laid over the ones before it. ``shipped`` marks paictl's own profiles."""

    tree: Mapping[str, Any]
    places: Mapping[TreePath, Place]
    shipped: bool = False


@dataclass(frozen=True, slots=True)
class Origins:
    """Where each value of the merged manifest was written."""

    places: Mapping[TreePath, Place]
    shipped: frozenset[str] = frozenset()

    def place(self, path: TreePath) -> Place | None:
        """Exactly there; ``None`` for a value that is a default."""
        return self.places.get(path)

    def find(self, path: TreePath) -> Span:
        """The value's place, else that of the nearest parent that was written."""
        for end in range(len(path), -1, -1):
            place = self.places.get(path[:end])
            if place is not None and (end == len(path) or place.value.file not in self.shipped):
                # A parent's value may be a whole block: its key is what one wants to see.
                return place.value if end == len(path) or place.key is None else place.key
        return Span("", 1)

    def key(self, path: TreePath) -> Span:
        """The key's place, else as ``find``."""
        place = self.places.get(path)
        return place.key if place is not None and place.key is not None else self.find(path)


@dataclass(frozen=True, slots=True)
class Merged:
    """The result: a tree without nulls, and its origins."""

    tree: dict[str, Any]
    origins: Origins


def merge(layers: Iterable[Layer]) -> Merged:
    """Later layers win: mappings merge by key, null deletes, everything else replaces."""
    tree: dict[str, Any] = {}
    places: dict[TreePath, Place] = {}
    shipped: set[str] = set()
    for layer in layers:
        root = layer.places.get(())
        if root is not None:
            if layer.shipped:
                shipped.add(root.value.file)
            if () not in places or places[()].value.file in shipped:
                places[()] = root
        _Patch(layer, places, shipped).apply(tree, layer.tree, ())
    return Merged(tree, Origins(places, frozenset(shipped)))


@dataclass(slots=True)
class _Patch:
    layer: Layer
    places: dict[TreePath, Place]
    shipped: set[str]

    def apply(self, target: dict[str, Any], patch: Mapping[str, Any], path: TreePath) -> None:
        for key, value in patch.items():
            below = (*path, key)
            if isinstance(value, Mapping):
                if not isinstance(target.get(key), dict):
                    self._forget(below, known=key in target)
                    target[key] = {}
                self._mention(below)
                self.apply(target[key], value, below)
                continue
            self._forget(below, known=key in target)
            # The place of a deletion is kept: an error about the missing key can point at the null.
            self._put(below)
            if value is None:
                target.pop(key, None)
            else:
                target[key] = value
                if isinstance(value, list):
                    self._copy_list(value, below)

    def _copy_list(self, value: object, path: TreePath) -> None:
        items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, Mapping) else ()
        for key, item in items:
            self._put((*path, key))
            self._copy_list(item, (*path, key))

    def _put(self, path: TreePath) -> None:
        place = self.layer.places.get(path)
        if place is not None:
            self.places[path] = place

    def _mention(self, path: TreePath) -> None:
        """A mapping's place is where a person's file first wrote it; a profile's place gives way to theirs."""
        known = self.places.get(path)
        if known is None or known.value.file in self.shipped:
            self._put(path)

    def _forget(self, path: TreePath, *, known: bool) -> None:
        self.places.pop(path, None)
        if known:
            depth = len(path)
            for stale in [each for each in self.places if len(each) > depth and each[:depth] == path]:
                del self.places[stale]
