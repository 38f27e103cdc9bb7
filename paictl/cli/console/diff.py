"""What differs between two texts, line by line, as a person reads it. Used by the views of plans and of previews; pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, takewhile

from paictl.cli.console.page import Page
from paictl.cli.console.table import cell_width

__all__ = ["compared", "diff_lines", "printable"]

_COLORS: Mapping[str, str] = {"+": "green", "-": "red", "@": "cyan"}
# Of one diff, before -v.
_LINES = 12
# So much of what two long lines have in common stands before what differs in them.
_LEAD = 24


def compared(before: str, after: str) -> tuple[str, ...]:
    """The lines of a unified diff without its two headers, with one line of what stays around each place; never empty."""
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    return tuple(found)[2:] or ("(only how its lines end)",)


def diff_lines(lines: Sequence[str], page: Page, indent: str) -> Iterator[str]:
    """Lines of a unified diff on a page, the first of them where there are many; with ``detail`` all, whole."""
    shown = lines if page.detail or len(lines) <= _LINES + 1 else lines[:_LINES]
    room = page.width - len(indent)
    for line in shown if page.detail or not page.width else _closer(shown, room):
        for piece in _fitting(printable(line), room, page):
            yield f"{indent}{page.style(piece, fg=_COLORS[line[0]]) if line[:1] in _COLORS else piece}".rstrip()
    if len(lines) > len(shown):
        yield f"{indent}and {len(lines) - len(shown)} more lines; -v shows them"


def printable(text: str) -> str:
    """A file of a host's may hold anything, also what a terminal obeys."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text.expandtabs(4))


def _closer(lines: Sequence[str], room: int) -> list[str]:
    """A long line and the one that takes its place, without most of what they begin with: else both are cut off before they differ."""
    told = list(lines)
    for number, (old, new) in enumerate(pairwise(lines)):
        if old[:1] == "-" and new[:1] == "+" and max(cell_width(old), cell_width(new)) > room:
            common = len([*takewhile(_alike, zip(old[1:], new[1:], strict=False))]) - _LEAD
            if common > 0:
                told[number], told[number + 1] = f"-…{old[common + 1 :]}", f"+…{new[common + 1 :]}"
    return told


def _alike(pair: tuple[str, str]) -> bool:
    return pair[0] == pair[1]


def _fitting(line: str, room: int, page: Page) -> Iterator[str]:
    """A line of a file keeps its spaces: cut off where the page ends, or gone on with below where all is wanted."""
    if not page.width or cell_width(line) <= room:
        yield line
        return
    if not page.detail:
        head, _ = _split(line, room - 1)
        yield f"{head}…"
        return
    while line:
        head, line = _split(line, room)
        yield head


def _split(line: str, room: int) -> tuple[str, str]:
    """At so many columns: a wide character takes two."""
    taken = 0
    for number, character in enumerate(line):
        taken += cell_width(character)
        if taken > room:
            return line[:number], line[number:]
    return line, ""
