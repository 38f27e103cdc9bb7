"""Turns YAML text into a plain tree with the place of every key and value. The first step of ``load``; checks no meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from paictl.errors import Span
from paictl.manifest.findings import Findings, TreePath
from paictl.manifest.scalars import plain_value
from paictl.manifest.syntax import report_syntax

__all__ = ["Place", "Source", "parse"]

# Far above what a person writes (the largest example has about 500 values), far below what hurts.
_MAX_VALUES = 20_000
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value and its key stand; list items have no key."""

    value: Span
    key: Span | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One parsed file: its tree, and a ``Place`` for every path in it (the root is ``()``)."""

    file: str
    folder: Path
    tree: dict[str, Any]
    places: Mapping[TreePath, Place]


@dataclass(slots=True)
class _Node:
    span: Span
    value: Any = None
    # A mapping's keys or a list's indices, each with the place of the key.
    items: dict[str | int, tuple[Span | None, _Node]] | None = None
    is_list: bool = False
    # Attached to its parent; an alias attaches the same node again.
    attached: bool = False
    # Complete; an alias to an incomplete node would contain itself.
    done: bool = True


def parse(text: str, file: str, folder: Path, findings: Findings) -> Source | None:
    """Parse; report into ``findings``; ``None`` when no tree could be made. Texts are known to ``findings`` afterwards."""
    lines = tuple(text.splitlines())
    findings.lines[file] = lines
    builder = _Builder(file, lines, findings)
    try:
        root = builder.build(YAML(typ="safe", pure=True).parse(text))
    except MarkedYAMLError as error:
        report_syntax(error, file, lines, findings)
        return None
    except ReaderError as error:
        before = text[: error.position]
        span = Span(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        summary = f"the character U+{ord(text[error.position]):04X} can't stand in YAML"
        findings.add("yaml-syntax", summary, span, advice="remove it")
        return None
    return None if builder.broken else _flattened(root, file, folder, findings)


def _flattened(root: _Node | None, file: str, folder: Path, findings: Findings) -> Source | None:
    if root is None or (root.items is None and root.value is None):
        findings.add("empty", f"{file} is empty", Span(file, 1), advice="`paictl init` writes a manifest to start from")
        return None
    if root.items is None or root.is_list:
        found = "a list" if root.is_list else "a single value"
        advice = "a manifest starts with `apiVersion: pai/v1alpha1`"
        findings.add("wrong-type", f"expected a mapping of keys, found {found}", root.span, advice=advice)
        return None
    places: dict[TreePath, Place] = {(): Place(root.span)}
    try:
        tree = _Flatten(places).value(root, ())
    except _TooManyError:
        summary = f"anchors and aliases expand to more than {_MAX_VALUES:,} values"
        findings.add("alias-limit", summary, Span(file, 1), advice="write the repeated parts out, or use fewer of them")
        return None
    return Source(file, folder, tree, places)


@dataclass(slots=True)
class _Builder:
    file: str
    lines: tuple[str, ...]
    findings: Findings
    root: _Node | None = None
    # What was found makes everything after it meaningless.
    broken: bool = False
    anchors: dict[str, _Node] = field(default_factory=dict)
    # The open collections, and for each open mapping the key that waits for its value.
    stack: list[_Node] = field(default_factory=list)
    keys: list[tuple[str, Span] | None] = field(default_factory=list)

    def build(self, events: Iterator[Any]) -> _Node | None:
        """The first document's root. Iterative, so that deep nesting can't exhaust the stack."""
        documents = 0
        for event in events:
            kind = type(event).__name__
            if kind in {"MappingEndEvent", "SequenceEndEvent"}:
                self.stack.pop().done = True
                self.keys.pop()
            elif kind in {"ScalarEvent", "AliasEvent", "MappingStartEvent", "SequenceStartEvent"}:
                self._value(event, kind)
                if self.broken:
                    break
            elif kind == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    advice = "keep one agent per file; use `overlays` or further -f files for variants"
                    span = self._span(event, 3)
                    self.findings.add("several-documents", "a second YAML document starts here", span, advice=advice)
                    break
        return self.root

    def _value(self, event: Any, kind: str) -> None:
        """Put a key, a value or the start of a collection where it belongs."""
        wants_key = bool(self.stack) and not self.stack[-1].is_list and self.keys[-1] is None
        if wants_key and kind == "ScalarEvent":
            self.keys[-1] = self._key(event)
            return
        node = self._node(event, kind)
        if wants_key:
            self._bad_key(node.span)
            self.keys[-1] = ("", node.span)
        elif self.stack:
            self._attach(self.stack[-1], node)
        else:
            self.root = node
        if kind.endswith("StartEvent"):
            if len(self.stack) == _MAX_DEPTH:
                self.broken = True
                self.findings.add("too-deep", f"nested more than {_MAX_DEPTH} deep", node.span, advice="flatten it")
            self.stack.append(node)
            self.keys.append(None)

    def _attach(self, parent: _Node, node: _Node) -> None:
        items = parent.items if parent.items is not None else {}
        if parent.is_list:
            items[len(items)] = (None, node)
            return
        key = self.keys[-1]
        self.keys[-1] = None
        if key is None or key[0] == "":
            return
        name, span = key
        if name in items:
            first = items[name][0]
            advice = f"the first one is on line {first.line}" if first else ""
            self.findings.add("duplicate-key", f"`{name}` stands here a second time", span, advice=advice)
            return
        if not node.attached and node.items is not None and node.span.line != span.line:
            # A block mapping or list has no text of its own: its key stands for it.
            node.span = span
        node.attached = True
        items[name] = (span, node)

    def _node(self, event: Any, kind: str) -> _Node:
        span = self._span(event)
        if kind == "AliasEvent":
            return self._alias(event.anchor, span)
        if event.tag is not None and str(event.tag) != "!":
            self._bad_tag(event, span)
        if kind == "ScalarEvent":
            value = plain_value(event.value) if event.style is None and event.tag is None else event.value
            node = _Node(span, value)
        else:
            node = _Node(span, items={}, is_list=kind == "SequenceStartEvent", done=False)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _alias(self, anchor: str, span: Span) -> _Node:
        known = self.anchors.get(anchor)
        if known is not None and known.done:
            return known
        self.broken = True
        if known is None:
            advice = "anchors stand before their aliases; text that starts with * needs quotes"
            self.findings.add(
                "yaml-syntax", f"the alias *{anchor} has no anchor &{anchor} before it", span, advice=advice
            )
        else:
            self.findings.add("alias-limit", f"the alias *{anchor} contains itself", span, advice="write it out")
        return _Node(span)

    def _key(self, event: Any) -> tuple[str, Span]:
        span = self._span(event)
        if event.tag is not None and str(event.tag) != "!":
            self._bad_tag(event, span)
        value = plain_value(event.value) if event.style is None else event.value
        if not isinstance(value, str) or value == "":
            self._bad_key(span, event.value)
            return "", span
        return value, span

    def _bad_key(self, span: Span, text: str = "") -> None:
        advice = f'write it in quotes: "{text}"' if text else "keys are text"
        self.findings.add("key-type", "this key is not text", span, advice=advice)

    def _bad_tag(self, event: Any, span: Span) -> None:
        self.findings.add(
            "custom-tag",
            f"the tag {str(event.tag).replace('tag:yaml.org,2002:', '!!')} is not allowed",
            span,
            advice="remove it; manifests hold plain text, numbers, true and false, lists and mappings",
        )

    def _span(self, event: Any, length: int = 0) -> Span:
        start, end = event.start_mark, event.end_mark
        line = self.lines[start.line] if start.line < len(self.lines) else ""
        stop = end.column if end.line == start.line else len(line)
        return Span(self.file, start.line + 1, start.column + 1, length or max(1, stop - start.column))


class _TooManyError(Exception):
    """More values than a manifest may have."""


@dataclass(slots=True)
class _Flatten:
    places: dict[TreePath, Place]

    def value(self, node: _Node, path: TreePath) -> Any:
        """The plain value of a node; aliases become copies, which is why the count is bounded."""
        if len(self.places) > _MAX_VALUES:
            raise _TooManyError
        if node.items is None:
            return node.value
        values = {key: self._item((*path, key), *item) for key, item in node.items.items()}
        return list(values.values()) if node.is_list else values

    def _item(self, path: TreePath, key: Span | None, node: _Node) -> Any:
        self.places[path] = Place(node.span, key)
        return self.value(node, path)
