"""What happens while paictl works, as values: the engine and the drivers emit, the command line shows.

Under ``-o json`` every event becomes one JSON line; on a terminal, bars and live lines; in a pipe, one plain line each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Emit", "Event", "ignore"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    ``type`` is a stable kebab-case word (``step-begin``, ``step-end``, ``progress``, ``health``, ``warning``, ``continuity``);
    ``address`` names the resource it is about, or is empty; ``data`` holds JSON values only and never a secret.
    """

    type: str
    address: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


Emit = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """The listener of whoever does not listen."""
