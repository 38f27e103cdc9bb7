"""The end of a service's log as a message tells it: what happened, then the last lines, without what each further start said again.

Called by the drivers' health checks; pure.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["with_log"]


def with_log(sentence: str, lines: Sequence[str]) -> str:
    """The sentence, and below it the lines, indented."""
    return "\n".join([sentence, *(f"  {line}" for line in _once(list(lines)))])


def _once(lines: list[str]) -> list[str]:
    for size in range(1, len(lines) // 2 + 1):
        said, times = lines[-size:], 1
        while lines[-size * (times + 1) : -size * times] == said:
            times += 1
        if times > 1:
            before = lines[: -size * times]
            # The oldest start may have been cut off by how many lines are looked at.
            return said if said[size - len(before) :] == before else [*before, *said]
    return lines
