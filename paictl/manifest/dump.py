"""Prints a merged manifest as YAML, on request with the place that each value came from. ``paictl config`` calls this."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

from paictl.manifest.findings import TreePath
from paictl.manifest.load import Manifest
from paictl.manifest.merge import Origins
from paictl.manifest.scalars import plain_value

__all__ = ["dump", "dump_tree"]

_DEFAULT = "default"


def dump(manifest: Manifest, *, origins: bool = False) -> str:
    """The manifest as it is applied to its target, with defaults and overlays; for that target it loads to the same."""
    tree = manifest.agent.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"overlays"})
    return dump_tree(_escaped(_without_empty(tree), ()), manifest.origins if origins else None)


def dump_tree(tree: Mapping[str, Any], origins: Origins | None = None) -> str:
    """Block-style YAML of plain values; with ``origins``, a comment ``file:line`` or ``default`` on every value."""
    yaml = YAML(typ="rt")
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(_commented(tree, (), origins), out)
    return out.getvalue()


def _commented(value: Any, path: TreePath, origins: Origins | None) -> Any:
    if isinstance(value, Mapping):
        mapping = CommentedMap()
        for key, item in value.items():
            mapping[_text(key)] = _commented(item, (*path, key), origins)
            _remark(mapping, key, item, (*path, key), origins)
        return mapping
    if isinstance(value, list):
        sequence = CommentedSeq(_commented(item, (*path, index), origins) for index, item in enumerate(value))
        for index, item in enumerate(value):
            _remark(sequence, index, item, (*path, index), origins)
        return sequence
    return _text(value) if isinstance(value, str) else value


def _remark(container: Any, key: str | int, item: Any, path: TreePath, origins: Origins | None) -> None:
    """On scalars only: a mapping's own place says nothing that its values don't."""
    if origins is None or (isinstance(item, Mapping | list) and item) or (isinstance(item, str) and "\n" in item):
        return
    place = origins.place(path)
    if place is None and isinstance(path[-1], int):
        place = origins.place(path[:-1])
    text = f"{place.value.file}:{place.value.line}" if place is not None else _DEFAULT
    container.yaml_add_eol_comment(text, key, column=0)


def _text(text: str) -> Any:
    """Quoted where YAML would read something else than text."""
    if "\n" in text and text == text.lstrip() and text.replace("\n", "").isprintable():
        return LiteralScalarString(text)
    if not isinstance(plain_value(text), str) or text != text.strip() or not text.isprintable():
        return DoubleQuotedScalarString(text)
    return text


def _escaped(value: Any, path: TreePath) -> Any:
    """Dollar signs that would be read as variables, doubled again; secrets take no variables and keep theirs."""
    if isinstance(value, Mapping):
        return {key: _escaped(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item, path) for item in value]
    if isinstance(value, str) and ("${" in value or "$$" in value) and path[:2] != ("spec", "secrets"):
        return value.replace("$", "$$")
    return value


def _without_empty(value: Any) -> Any:
    """Without the empty lists and mappings that defaults leave; they mean nothing and only make the result longer."""
    if isinstance(value, Mapping):
        items = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item not in ({}, [])}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value
