"""Text that arrives in pieces, broken between words at the terminal's edge. Used for answers as they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from paictl.cli.console.table import cell_width

__all__ = ["Flow"]


@dataclass
class Flow:
    """Writes pieces on; with a ``width``, a word is held back until its end is known, so that none is cut in two."""

    write: Callable[[str], None]
    width: int
    _column: int = field(default=0, init=False)
    _word: str = field(default="", init=False)

    def add(self, piece: str) -> None:
        """The next piece."""
        if not self.width:
            self.write(piece)
            return
        for character in piece:
            if not character.isspace():
                self._word += character
                continue
            self._flush()
            if character == "\n":
                self.write("\n")
                self._column = 0
            elif self._column < self.width - 1:
                self.write(character)
                self._column += 1

    def end(self) -> None:
        """No more will come."""
        self._flush()

    def _flush(self) -> None:
        size = cell_width(self._word)
        if self._column and self._column + size > self.width - 1:
            self.write("\n")
            self._column = 0
        self.write(self._word)
        self._column += size
        self._word = ""
