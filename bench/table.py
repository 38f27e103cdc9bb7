"""A row of the benchmark table and how it is printed. Every benchmark module has ``run() -> list[Row]``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Lacking", "Row", "render"]


class Lacking(Exception):
    """A benchmark can't run on this machine; says what is missing."""


@dataclass(frozen=True)
class Row:
    """One measurement: what, how much, in which unit, and the bar it is held against (None: only reported).

    ``at_least`` turns the bar round: a ratio of throughput must not fall below it.
    """

    what: str
    value: float
    unit: str
    bar: float | None = None
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the bar is met; a row without one always holds."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def render(rows: Sequence[Row]) -> str:
    """The table as Markdown, so that it reads in a terminal and in ``docs/performance.md`` alike."""
    lines = ["| what | measured | bar | ratio to the bar | |", "|---|---:|---:|---:|---|"]
    for row in rows:
        bar = "" if row.bar is None else f"{'≥' if row.at_least else '≤'} {row.bar:g} {row.unit}"
        ratio = "" if not row.bar else f"{row.value / row.bar:.2f}"
        lines.append(f"| {row.what} | {row.value:.3g} {row.unit} | {bar} | {ratio} | {'' if row.holds else 'MISSED'} |")
    return "\n".join(lines)
