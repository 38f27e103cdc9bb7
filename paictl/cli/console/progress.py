"""Shows events as they happen: JSON lines for a program, plain lines for a pipe, a live picture on a terminal.

``listen`` chooses by the terminal and gives the function that the engine emits to; what each event says stands in ``sayings``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from paictl.cli.console.sayings import amounts, said
from paictl.cli.console.terminal import Terminal
from paictl.events import Event

__all__ = ["JsonLines", "Listener", "PlainLines", "listen"]


class Listener(Protocol):
    """Takes events from any thread."""

    def __call__(self, event: Event) -> None:
        """One event happened."""

    def pause(self) -> AbstractContextManager[None]:
        """Hold still while something else is written or asked."""
        ...


@contextmanager
def listen(terminal: Terminal) -> Iterator[Listener]:
    """The listener that fits who reads: nobody with -q, a person at a terminal, a file or pipe."""
    if terminal.live:
        from paictl.cli.console.live import live

        with live(terminal) as picture:
            yield picture
    else:
        yield PlainLines(terminal)


@dataclass
class JsonLines:
    """One JSON line an event on stdout: the first the format's version, the last the result. Called from any thread."""

    terminal: Terminal
    _seq: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self.terminal.line({"type": "version", "format": "1"})

    def __call__(self, event: Event) -> None:
        """Write one event."""
        # Its own data comes first: an event can't overwrite what every line has.
        self._write({**event.data, "type": event.type, "address": event.address})

    def pause(self) -> AbstractContextManager[None]:
        """Lines don't move."""
        return nullcontext()

    def result(self, document: Mapping[str, object]) -> None:
        """The last line."""
        self._write({"type": "result", "address": "", **document})

    def _write(self, document: Mapping[str, object]) -> None:
        with self._lock:
            self._seq += 1
            stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            head = {"type": document["type"], "seq": self._seq, "ts": stamp, "address": document["address"]}
            self.terminal.line({**head, **{key: value for key, value in document.items() if key not in head}})


@dataclass
class PlainLines:
    """One line an event on stderr. Of a download, its beginning, each quarter and its end: a log is no bar."""

    terminal: Terminal
    _quarters: dict[str, int] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __call__(self, event: Event) -> None:
        """Write one event, unless it says nothing new."""
        with self._lock:
            if event.type == "progress" and not self._news(event):
                return
            line = said(event)
            if line:
                self.terminal.note(f"{event.address}: {line}" if event.address else line)

    def pause(self) -> AbstractContextManager[None]:
        """Lines don't move."""
        return nullcontext()

    def _news(self, event: Event) -> bool:
        done, total = amounts(event)
        quarter = int(4 * done / total) if total else -1
        key = f"{event.address} {event.data.get('what', '')}"
        if self._quarters.get(key) == quarter:
            return False
        self._quarters[key] = quarter
        return True
