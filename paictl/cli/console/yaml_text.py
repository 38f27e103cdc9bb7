"""JSON data as YAML that a person reads, with an optional remark behind each value. Pure; reading YAML is the manifest's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["yaml_text"]

_Path = tuple[str | int, ...]
# What reads as the same text without quotes under YAML 1.1 and 1.2 alike: no number, no word with a meaning, no indicator.
_PLAIN = re.compile(
    r"(?!(?:y|n|yes|no|on|off|true|false|null|nan|inf)$)[A-Za-z_/][A-Za-z0-9_./@+-]*( [A-Za-z0-9_./@+-]+)*",
    re.IGNORECASE,
)


def yaml_text(document: Mapping[str, object], remark: Callable[[_Path], str] | None = None) -> str:
    """Block style, in the document's order. ``remark`` gives the comment for a value's path, or an empty text."""
    rows = list(_mapping(document, (), ""))
    if remark is None:
        return "".join(f"{line}\n" for line, _ in rows)
    remarks = [remark(path) if path is not None else "" for _, path in rows]
    column = min(48, max((len(line) for (line, _), said in zip(rows, remarks, strict=True) if said), default=0))
    pairs = zip(rows, remarks, strict=True)
    return "".join(f"{line:<{column}}  # {said}\n" if said else f"{line}\n" for (line, _), said in pairs)


def _mapping(value: Mapping[str, object], path: _Path, indent: str) -> Iterator[tuple[str, _Path | None]]:
    for key, item in value.items():
        yield from _entry(f"{indent}{_scalar(key)}:", item, (*path, key), indent)


def _entry(lead: str, item: object, path: _Path, indent: str) -> Iterator[tuple[str, _Path | None]]:
    match item:
        case Mapping() if item:
            yield lead, None
            yield from _mapping(item, path, indent + "  ")
        case str() if "\n" in item and _fits_block(item):
            yield f"{lead} |{'' if item.endswith(chr(10)) else '-'}", path
            for line in item.rstrip("\n").split("\n"):
                yield (f"{indent}  {line}" if line else ""), None
        case list() | tuple() if item:
            yield lead, None
            yield from _sequence(item, path, indent + "  ")
        case _:
            yield f"{lead} {_scalar(item)}", path


def _sequence(value: Sequence[object], path: _Path, indent: str) -> Iterator[tuple[str, _Path | None]]:
    for index, item in enumerate(value):
        below = (*path, index)
        if isinstance(item, Mapping) and item:
            first, *rest = _mapping(item, below, indent + "  ")
            yield f"{indent}- {first[0].lstrip()}", first[1]
            yield from rest
        elif isinstance(item, list | tuple) and item:
            yield f"{indent}-", None
            yield from _sequence(item, below, indent + "  ")
        else:
            yield f"{indent}- {_scalar(item)}", below


def _fits_block(text: str) -> bool:
    """Whether a literal block gives the text back: it starts with a letter, ends with at most one line end, has no controls."""
    return not text[0].isspace() and not text.endswith("\n\n") and all(line.isprintable() for line in text.split("\n"))


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    return json.dumps(value, ensure_ascii=False, default=str)
