"""Rows as aligned columns, or, where the reader's end is too narrow, as one small block a row. Pure."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

__all__ = ["cell_width", "table", "wrap"]


def cell_width(text: str) -> int:
    """Columns a text takes on a terminal: wide characters two, combining ones and escape sequences none."""
    width, escape = 0, False
    for character in text:
        if escape:
            escape = character != "m"
        elif character == "\x1b":
            escape = True
        elif not unicodedata.combining(character):
            width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return width


def table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int = 0) -> list[str]:
    """Lines no wider than ``width`` where that can be (0: as wide as needed). The first column names the row.

    The last column gives way first: it wraps below itself while a third of the width is left for it; else each row becomes
    a block of its name and indented ``label  value`` lines.
    """
    kept = [index for index, _ in enumerate(header) if index == 0 or any(row[index] for row in rows)]
    header = [header[index] for index in kept]
    rows = [[row[index] for index in kept] for row in rows]
    sizes = [max(cell_width(row[index]) for row in (header, *rows)) for index in range(len(header))]
    fixed = sum(sizes[:-1]) + 2 * (len(sizes) - 1)
    if not width or fixed + sizes[-1] <= width:
        return [_line(cells, sizes) for cells in (header, *rows)]
    if width - fixed >= max(16, width // 3):
        sizes[-1] = width - fixed
        return [line for cells in (header, *rows) for line in _wrapped(cells, sizes)]
    return [line for row in rows for line in _block(header, row, width)]


def _line(cells: Sequence[str], sizes: Sequence[int]) -> str:
    return "  ".join(cell + " " * (size - cell_width(cell)) for cell, size in zip(cells, sizes, strict=True)).rstrip()


def _wrapped(cells: Sequence[str], sizes: Sequence[int]) -> list[str]:
    parts = wrap(cells[-1], sizes[-1]) or [""]
    lines = [_line((*cells[:-1], parts[0]), sizes)]
    blank = [""] * (len(cells) - 1)
    return lines + [_line((*blank, part), sizes) for part in parts[1:]]


def _block(header: Sequence[str], row: Sequence[str], width: int) -> list[str]:
    label = max(map(len, header[1:]), default=0)
    lines = [row[0]]
    for name, cell in zip(header[1:], row[1:], strict=True):
        if cell:
            parts = wrap(cell, max(10, width - label - 4))
            lines.append(f"  {name.lower():<{label}}  {parts[0]}")
            lines += [" " * (label + 4) + part for part in parts[1:]]
    return lines


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most ``width`` columns, the second and later ones after ``indent``; 0 leaves the text as it is."""
    if not width:
        return [text]
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        lines += textwrap.wrap(
            paragraph, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=True
        ) or [""]
    return lines
