"""Checks a merged tree against the types and turns pydantic's errors into findings: one message a place, in plain words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from paictl.manifest.findings import Finding, TreePath, dotted, nearest
from paictl.manifest.scalars import plain_value
from paictl.manifest.shape import Shape, shape_of
from paictl.manifest.tree import value_at

__all__ = ["unknown_deletions", "validated", "without_extensions"]

_Model = TypeVar("_Model", bound=BaseModel)


def without_extensions(value: Any, shape: Shape | None) -> Any:
    """The tree without its ``x-*`` keys. In a mapping of names ``x-ray`` is a name like any other and stays."""
    if shape is None:
        return value
    if isinstance(value, dict):
        extensible = shape.branch("object") is not None
        return {
            key: without_extensions(item, shape.child(key))
            for key, item in value.items()
            if not (extensible and key.startswith("x-"))
        }
    if isinstance(value, list):
        return [without_extensions(item, shape.child(index)) for index, item in enumerate(value)]
    return value


def unknown_deletions(tree: Mapping[str, Any], shape: Shape, path: TreePath = ()) -> Iterator[Finding]:
    """Unknown keys without a value: merging would delete them, and a slip of the pen with them, in silence."""
    for key, value in tree.items():
        below = (*path, key)
        inner = shape.child(key)
        if value is None and inner is None and shape.keys and not key.startswith("x-"):
            yield _unknown_key(below, shape)
        elif isinstance(value, Mapping) and inner is not None:
            yield from unknown_deletions(value, inner, below)


def validated(model: type[_Model], tree: Mapping[str, Any]) -> tuple[_Model | None, tuple[Finding, ...]]:
    """The typed manifest, or everything that keeps it from being one."""
    try:
        return model.model_validate(tree), ()
    except ValidationError as error:
        return None, tuple(_Teller(shape_of(model), tree).findings(error.errors(include_url=False)))


@dataclass(frozen=True, slots=True)
class _Located:
    """One of pydantic's errors with its place in the tree; ``union`` is the innermost union on the way, if any."""

    type: str
    path: TreePath
    at_key: bool = False
    union: TreePath | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class _Teller:
    root: Shape
    tree: Mapping[str, Any]

    def findings(self, errors: Iterable[ErrorDetails]) -> Iterator[Finding]:
        unions: dict[TreePath, list[_Located]] = {}
        for error in errors:
            each = self._locate(error)
            if each.union is None:
                yield self._finding(each)
            else:
                unions.setdefault(each.union, []).append(each)
        for path, members in unions.items():
            yield from self._union(path, members)

    def _locate(self, error: ErrorDetails) -> _Located:
        """Follow pydantic's ``loc``, leaving out the labels of union branches, which are no keys of the tree."""
        path: TreePath = ()
        here: Shape | None = self.root
        union: TreePath | None = None
        label, at_key, label_next = "", False, False
        for part in error["loc"]:
            if part == "[key]":
                at_key = True
            elif label_next:
                union, label, label_next = path, str(part), False
            else:
                path = (*path, part)
                here = here.child(part) if here is not None else None
                label_next = here is not None and here.is_union
        return _Located(error["type"], path, at_key, union, label)

    def _union(self, path: TreePath, members: list[_Located]) -> Iterator[Finding]:
        """Only the branch that the person meant speaks; when that is unclear, one sentence names them all."""
        value = value_at(self.tree, path)
        if isinstance(value, dict):
            objects = {branch.label for branch in self._shape(path).branches if branch.kind == "object"}
            meant = [each for each in members if each.label in objects]
        elif isinstance(value, list):
            meant = [each for each in members if each.label.startswith("list[")]
        else:
            meant = [each for each in members if isinstance(value, str) and each.type == "string_pattern_mismatch"]
            if (
                len(self._shape(path).branches)
                > len({each.label for each in members if each.type.endswith("_type")}) + 1
            ):
                meant = []
        if meant:
            yield from map(self._finding, meant)
            return
        code = "invalid-value" if isinstance(value, str) else "wrong-type"
        yield Finding(code, path, f"{dotted(path)} is {_shown(value)}", f"expected {self._shape(path).describe()}")

    def _finding(self, each: _Located) -> Finding:
        """One error in plain words."""
        path, shape, value = each.path, self._shape(each.path), value_at(self.tree, each.path)
        if each.at_key:
            advice = _name_advice(str(path[-1]), self._shape(path[:-1]))
            return Finding("bad-name", path, f"`{path[-1]}` can't be a name here", advice, at_key=True)
        if each.type in {"extra_forbidden", "missing"}:
            return (
                _unknown_key(path, self._shape(path[:-1])) if each.type == "extra_forbidden" else _missing(path, shape)
            )
        if each.type == "literal_error":
            return _choice(path, value, shape)
        code = _CODES.get(each.type, "wrong-type")
        if code == "too-few":
            return Finding(code, path, f"{dotted(path)} is empty", "it needs at least one entry")
        expected = f"expected {shape.describe()}"
        if code == "wrong-type" and isinstance(value, str) and not isinstance(plain_value(value), str):
            return Finding(code, path, f"{dotted(path)} is the text `{value}`", f"{expected}, without quotation marks")
        return Finding(code, path, f"{dotted(path)} is {_shown(value)}", expected)

    def _shape(self, path: TreePath) -> Shape:
        shape = self.root.at(path)
        return shape if shape is not None else Shape(())


def _unknown_key(path: TreePath, parent: Shape) -> Finding:
    key = str(path[-1])
    advice = "write the keys out; merge keys are YAML 1.1" if key == "<<" else nearest(key, parent.keys, "keys")
    return Finding("unknown-key", path, f"`{key}` is not a key of {dotted(path[:-1])}", advice, at_key=True)


def _missing(path: TreePath, shape: Shape) -> Finding:
    *parent, key = path
    only = [choice for branch in shape.branches for choice in branch.choices]
    if len(only) == 1:
        advice = f"add `{key}: {only[0]}`"
    else:
        meaning = shape.field.description if shape.field is not None else ""
        advice = f"add `{key}: …`, {shape.describe()}" + (f": {_first_sentence(meaning)}" if meaning else "")
    return Finding("missing-key", path, f"{dotted(parent)} needs `{key}`", advice, at_key=True)


# pydantic's names of errors -> ours; whatever is not here is a wrong type.
_CODES = {
    "string_pattern_mismatch": "invalid-value",
    "too_short": "too-few",
    "string_too_short": "too-few",
    "greater_than_equal": "out-of-range",
    "less_than_equal": "out-of-range",
}


def _choice(path: TreePath, value: Any, shape: Shape) -> Finding:
    if path == ("apiVersion",):
        return Finding(
            "unknown-version", path, f"apiVersion is {_shown(value)}", f"this paictl reads {shape.describe()}"
        )
    choices = [choice for branch in shape.branches for choice in branch.choices]
    close = nearest(str(value), choices, "choices") if isinstance(value, str) else ""
    listed = f"choose one of {', '.join(choices)}" if len(choices) > 1 else f"write {choices[0]}"
    advice = f"{close.removesuffix('?')}? {listed}" if close.startswith("did you mean") else listed
    return Finding("not-a-choice", path, f"{dotted(path)} is {_shown(value)}", advice)


def _name_advice(name: str, shape: Shape) -> str:
    choices = [choice for branch in shape.branches for choice in branch.names]
    if choices:
        return nearest(name, choices, "names")
    plain = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    better = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40]
    rule = "names are lower-case letters, digits and dashes, at most 40"
    return f"{rule}: `{better}`, say" if better else rule


def _first_sentence(text: str) -> str:
    head = re.split(r"[.;](\s|$)", text, maxsplit=1)[0]
    return head[:1].lower() + head[1:]


def _shown(value: Any) -> str:
    """A value for a sentence, cut short."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    text = " ".join(str(value).split())
    return f"`{text[:40]}…`" if len(text) > 41 else f"`{text}`"
