"""Where something long is shown: how wide it is there, how much of it is wanted, how it is coloured. Made by the views of plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

from paictl.cli.console.terminal import Terminal

__all__ = ["Page"]


@dataclass(frozen=True, slots=True)
class Page:
    """A stream of a terminal; ``detail``: everything is wanted, however long."""

    terminal: Terminal
    stream: TextIO
    detail: bool

    @property
    def width(self) -> int:
        """Columns; 0: no end."""
        return self.terminal.err_width if self.stream is self.terminal.err else self.terminal.width

    @property
    def wide(self) -> bool:
        """Whether there is room for more than a phone has."""
        return not self.width or self.width >= 60

    def style(self, text: str, **style: bool | str) -> str:
        """Coloured where that can be seen."""
        return self.terminal.style(text, stream=self.stream, **style)
