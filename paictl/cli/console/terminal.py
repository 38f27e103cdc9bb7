"""The two streams of a run: results to stdout, everything else to stderr, in what the reader's end can show.

Made once a run by ``main`` and handed to every verb; nothing else in paictl writes to a stream.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

import click

from paictl.cli.console.table import cell_width, wrap

__all__ = ["Output", "Terminal", "prepare_streams"]

Output = Literal["text", "json", "yaml"]

# What every symbol of ours becomes where the reader's encoding has no such character.
_PLAIN = {
    "→": "->", "✓": "ok", "✗": "x", "●": "*", "○": "o", "·": "-", "…": "...", "—": "-", "─": "-", "━": "=", "│": "|", "±": "+/-",
    "≤": "<=", "≥": ">=", "\u00a0": " ",
}  # fmt: skip


def _degrade(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain(character) for character in error.object[error.start : error.end]), error.end


def _plain(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"


def prepare_streams() -> None:
    """Let both streams take any text: what the encoding lacks degrades to ASCII instead of failing."""
    codecs.register_error("paictl-plain", _degrade)
    # A stream that was closed before the start is None; what goes there is heard by nobody.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - open until the process ends
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="paictl-plain")


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a run writes. ``verbosity``: -1 quiet, 0 normal, 1 and more verbose. ``color`` is what was asked for."""

    output: Output = "text"
    color: bool = True
    verbosity: int = 0

    @property
    def out(self) -> TextIO:
        """Results."""
        return sys.stdout

    @property
    def err(self) -> TextIO:
        """Everything else."""
        return sys.stderr

    @property
    def live(self) -> bool:
        """Whether progress can be drawn: stderr is a terminal, and somebody reads text there."""
        return self.output == "text" and self.verbosity >= 0 and _is_tty(self.err) and os.environ.get("TERM") != "dumb"

    @property
    def symbols(self) -> bool:
        """Whether stderr can show more than ASCII."""
        return _is_utf8(self.err)

    @property
    def width(self) -> int:
        """Columns that a result has to fit into; 0 when the reader is a pipe and lines may be as long as they are."""
        return _columns(self.out)

    @property
    def err_width(self) -> int:
        """The same, for everything that is not a result."""
        return _columns(self.err)

    def style(self, text: str, *, stream: TextIO | None = None, **style: bool | str) -> str:
        """Coloured where the stream (stdout unless told otherwise) is a terminal and nobody said no."""
        wanted = self.color and _is_tty(stream or self.out)
        return click.style(text, **style) if wanted else text  # type: ignore[arg-type] # click types each keyword

    def write(self, text: str = "") -> None:
        """One piece of a result, as a line on stdout."""
        _put(self.out, text + "\n")

    def stream(self, text: str) -> None:
        """A part of a line on stdout, shown at once: an answer as it comes."""
        _put(self.out, text)

    def result(
        self, document: Mapping[str, object], text: Callable[[], str | Sequence[str]], *, raw: bool = False
    ) -> None:
        """The verb's result: the document under -o json or yaml, else the text, wrapped unless it is ``raw``."""
        if self.output == "json":
            _put(self.out, self.dump(document) + "\n")
        elif self.output == "yaml":
            from paictl.manifest.dump import dump_tree

            # Through JSON: what is left then is plain lists, mappings and scalars.
            _put(self.out, dump_tree(json.loads(self.dump(document))))
        else:
            shown = text()
            lines = [shown] if isinstance(shown, str) else shown
            if not raw:
                lines = [part for line in lines for part in _fitted(line, self.width)]
            _put(self.out, "".join(f"{line}\n" for line in lines))

    def line(self, document: Mapping[str, object]) -> None:
        """One JSON line of a stream of events, flushed, so that a reader sees it as it happens."""
        _put(self.out, json.dumps(document, ensure_ascii=not _is_utf8(self.out), default=str) + "\n")

    def dump(self, document: Mapping[str, object]) -> str:
        """JSON as people and programs both read it."""
        return json.dumps(document, indent=2, ensure_ascii=not _is_utf8(self.out), default=str)

    def note(self, text: str, *, level: int = 0) -> None:
        """A line on stderr for a person. Silent with -q, and under -o json or yaml unless -v asks for it."""
        machine = self.output != "text"
        if self.verbosity >= level + (1 if machine else 0):
            _put(self.err, text + "\n")

    def alert(self, text: str) -> None:
        """A line on stderr that is shown even with -q: an error."""
        _put(self.err, text + "\n")

    @property
    def can_ask(self) -> bool:
        """Whether a person is there to answer."""
        return _is_tty(sys.stdin) and _is_tty(self.err)

    def ask(self, question: str) -> bool:
        """A yes/no question on stderr; anything but y or yes is a no."""
        _put(self.err, f"{question} [y/N] ")
        answer = sys.stdin.readline()
        if not answer:
            _put(self.err, "\n")
        return answer.strip().lower() in {"y", "yes"}

    def secret(self, question: str) -> str:
        """A question whose answer nobody sees."""
        import getpass

        return getpass.getpass(f"{question}: ", stream=self.err)

    def prompt(self, question: str, usual: str) -> str:
        """A question with a usual answer, which an empty line takes."""
        _put(self.err, f"{question} [{usual}]: ")
        return sys.stdin.readline().strip() or usual


def _columns(stream: TextIO) -> int:
    told = os.environ.get("COLUMNS", "")
    if told.isdigit() and int(told):
        return max(20, int(told))
    try:
        return max(20, os.get_terminal_size(stream.fileno()).columns) if stream.isatty() else 0
    except (OSError, ValueError):
        return 0


def _fitted(line: str, width: int) -> list[str]:
    """A line that is too long goes on below itself, a little further in."""
    if not width or cell_width(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return wrap(line, width, indent)


def _is_tty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _is_utf8(stream: TextIO) -> bool:
    return codecs.lookup(stream.encoding or "ascii").name == "utf-8"


def _put(stream: TextIO, text: str) -> None:
    """Write and flush. A reader that went away (``| head``) is no error: the rest of the run goes on unheard."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
