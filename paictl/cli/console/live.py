"""The picture on a terminal: a line for each running step, a bar for each download, a settled line for what is done.

The only module that imports rich; nothing is imported from here before somebody watches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from paictl.cli.console.sayings import amounts, said
from paictl.cli.console.terminal import Terminal
from paictl.events import Event

__all__ = ["Picture", "live"]

_BAR = 24
# After so many seconds in which nothing happened, a person wants to know that something does.
_SILENCE = 0.5


@contextmanager
def live(terminal: Terminal) -> Iterator[Picture]:
    """Draw until the block ends; what is settled stays on the screen."""
    console = Console(file=terminal.err, no_color=not terminal.color, highlight=False, width=terminal.err_width)
    picture = Picture(console, Spinner("dots" if terminal.symbols else "line"))
    with picture.drawn:
        yield picture


@dataclass
class _Row:
    """Something under way. ``done`` and ``total`` in bytes, where it is a download."""

    what: str
    began: float
    done: int = 0
    total: int = 0


@dataclass
class Picture:
    """Everything under way, redrawn in place. Fed from any thread."""

    console: Console
    spinner: Spinner
    drawn: Live = field(init=False)
    _rows: dict[str, _Row] = field(default_factory=dict, init=False)
    _idle_since: float = field(default_factory=time.monotonic, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self.drawn = Live(self, console=self.console, refresh_per_second=8, transient=True)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Wipe the picture while something else is written or asked."""
        self.drawn.stop()
        try:
            yield
        finally:
            self.drawn.start()

    def __call__(self, event: Event) -> None:
        """Note one event."""
        line = said(event)
        # Printing redraws, and redrawing reads the rows: never print under the lock.
        if self._noted(event, line):
            self._print(event, line)

    def _noted(self, event: Event, line: str) -> bool:
        """Whether the event is to stay on the screen as a settled line."""
        with self._lock:
            self._idle_since = time.monotonic()
            if event.type == "step-begin":
                self._rows[event.address] = _Row(line, time.monotonic())
            elif event.type == "progress":
                self._advance(event, line)
            elif event.type == "health" and event.address in self._rows:
                self._rows[event.address].what = line.splitlines()[0] if line else ""
            else:
                if event.type == "step-end":
                    self._settle(event.address)
                return bool(line)
            return False

    def _advance(self, event: Event, line: str) -> None:
        row = self._rows.setdefault(event.address, _Row(line, time.monotonic()))
        row.what = str(event.data.get("what", line))
        row.done, row.total = amounts(event)

    def _settle(self, address: str) -> None:
        for key in [key for key in self._rows if key == address or key.startswith(f"{address} ")]:
            del self._rows[key]

    def _print(self, event: Event, line: str) -> None:
        good = event.type != "warning" and event.data.get("ok") is not False
        mark = Text("✓ ", "green") if good else Text("! ", "yellow bold")
        self.console.print(
            mark + Text(f"{event.address}  " if event.address else "") + Text(line, "dim" if good else "")
        )

    def __rich_console__(self, console: Console, options: object) -> Iterator[RenderableType]:
        with self._lock:
            rows = list(self._rows.items())
        now = time.monotonic()
        frame = self.spinner.render(now)
        if not rows and now - self._idle_since >= _SILENCE:
            rows = [("", _Row("working", self._idle_since))]
        yield Group(*(self._line(address, row, now, frame) for address, row in rows))

    def _line(self, address: str, row: _Row, now: float, frame: RenderableType) -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append_text(frame if isinstance(frame, Text) else Text("· "))
        text.append(f" {address}  " if address else " ")
        if row.total:
            share = min(1.0, row.done / row.total)
            size = max(8, min(_BAR, self.console.width - 40))
            filled = round(size * share)
            text.append("━" * filled, "green").append("─" * (size - filled), "bright_black")
            text.append(f" {share:4.0%}  ")
            text.append(row.what, "dim")
        else:
            text.append(row.what, "dim")
            if now - row.began >= 1:
                text.append(f"  {now - row.began:.0f} s", "dim")
        return text
