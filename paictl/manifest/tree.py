"""Reads a merged tree that may still be wrong in places, so that checks of meaning run beside the checks of type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paictl.manifest.findings import TreePath

__all__ = ["entries", "list_at", "mapping_at", "matching", "merged_path", "text_at", "value_at"]


def value_at(tree: Any, path: TreePath) -> Any:
    """The value at a path, or ``None`` when the tree has none there."""
    value = tree
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def mapping_at(tree: Any, *path: str) -> Mapping[str, Any]:
    """The mapping there; empty when there is none."""
    value = value_at(tree, path)
    return value if isinstance(value, Mapping) else {}


def list_at(tree: Any, *path: str) -> list[Any]:
    """The list there; empty when there is none."""
    value = value_at(tree, path)
    return value if isinstance(value, list) else []


def text_at(tree: Any, *path: str) -> str | None:
    """The text there, if it is text."""
    value = value_at(tree, path)
    return value if isinstance(value, str) else None


def entries(tree: Any, *path: str) -> Iterator[tuple[TreePath, str, Mapping[str, Any]]]:
    """The mappings in a mapping of names, each with its path and name."""
    for name, value in mapping_at(tree, *path).items():
        if isinstance(value, Mapping):
            yield (*path, name), name, value


def matching(tree: Any, pattern: tuple[str, ...], path: TreePath = ()) -> Iterator[tuple[TreePath, Any]]:
    """Every value at the places of a pattern, in which ``*`` stands for any key, each with its path."""
    if not pattern:
        yield path, tree
    elif isinstance(tree, Mapping):
        for key in tree if pattern[0] == "*" else {pattern[0]} & tree.keys():
            yield from matching(tree[key], pattern[1:], (*path, key))


def merged_path(path: TreePath) -> TreePath:
    """Where a value of one file stands once its overlays are laid over it."""
    return path[2:] if path[:1] == ("overlays",) else path
