"""Turns what Ansible's modules say of what changes into lines of unified diffs. Pure; used by ``previewing``.

What a task does not say (``no_log``, ``diff: false``) stays unsaid, and so does whatever lies among an agent's secrets.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from paictl.engine.preview import Difference

__all__ = ["differences", "items"]

Part = Mapping[str, Any]

_CONTEXT = 1
_SECRETS = re.compile(r"^/etc/paictl/[^/]+/secrets(/|$)")
_NOT_SHOWN = {
    "src_binary": "not text",
    "dst_binary": "not text",
    "src_larger": "too large to be shown",
    "dst_larger": "too large to be shown",
}


def items(result: Part) -> list[Part]:
    """The results of a loop's items, or the one there is."""
    each = result.get("results")
    if isinstance(each, list) and each and all(isinstance(one, Mapping) for one in each):
        return each
    return [result]


def differences(action: str, parts: Sequence[Part]) -> tuple[Difference, ...]:
    """What changes, by path, of those results that change something."""
    return tuple(one for part in parts if part.get("changed") for one in _differences(action, part) if one.lines)


def _differences(action: str, part: Part) -> Iterator[Difference]:
    if part.get("censored"):
        return
    if action.rpartition(".")[2] == "debug":
        # What a role says instead of doing it, in check mode.
        yield Difference("", (f"+{part.get('msg', '')}",))
    said = part.get("diff") or []
    for one in said if isinstance(said, list) else [said]:
        path = _path(part, one)
        if not _SECRETS.match(path):
            yield Difference(path, tuple(_lines(one)))


def _path(part: Part, said: Part) -> str:
    before, asked = said.get("before"), (part.get("invocation") or {}).get("module_args") or {}
    told = before.get("path") if isinstance(before, Mapping) else None
    # Not the headers, of what is not there yet: they name where it comes from.
    return str(told or asked.get("dest") or asked.get("path") or part.get("dest") or part.get("path") or "")


def _lines(said: Part) -> Iterator[str]:
    if "prepared" in said:
        yield from str(said["prepared"]).splitlines()
    for key in _NOT_SHOWN.keys() & said.keys():
        yield f"({_NOT_SHOWN[key]})"
        return
    sides = said.get("before", ""), said.get("after", "")
    before, after = (_text(side).splitlines() for side in sides)
    _, _, *lines = [*difflib.unified_diff(before, after, n=_CONTEXT, lineterm="")] or ["", ""]
    # Attributes are in no order, so that where among them something changes tells nothing.
    yield from (line for line in lines if line[0] in "+-" or not isinstance(sides[0], Mapping))


def _text(said: object) -> str:
    """Of attributes, one a line."""
    if isinstance(said, Mapping):
        return "\n".join(f"{key}: {value}" for key, value in sorted(said.items()) if key != "path")
    return str(said)
