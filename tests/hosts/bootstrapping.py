"""Types what a person types who has nothing but a host's password: on a terminal, where it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.conftest import World
from tests.cli.terminals import Terminal, on_terminal
from tests.hosts.home import HostHome

__all__ = ["typing"]


class _Desk(World):
    """The home, for a terminal."""

    def __init__(self, home: HostHome) -> None:
        super().__init__(home.folder)
        self.home = home

    @property
    def folder(self) -> Path:
        return self.home.manifest.parent

    def environment(self, **more: str) -> dict[str, str]:
        return self.home.surroundings() | more


@contextmanager
def typing(home: HostHome, *words: str, code: int = 0) -> Iterator[Terminal]:
    """``paictl`` with these words, on a terminal wide enough for its sentences; it must end with that code."""
    with on_terminal(_Desk(home), *words, columns=200) as terminal:
        yield terminal
        ended = terminal.end()
        assert ended == code, terminal.text
