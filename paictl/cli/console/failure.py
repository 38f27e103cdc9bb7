"""Turns whatever was raised into what a person reads or a program parses. Called at the process boundary."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence

import click

from paictl.cli.console.table import wrap
from paictl.cli.console.terminal import Terminal
from paictl.errors import Diagnostic, ExitCode, Interrupted, PaictlError, UsageError

__all__ = [
    "Terminated",
    "as_error",
    "diagnostic_document",
    "diagnostic_lines",
    "error_document",
    "exit_code",
    "show_error",
]

_COLORS = {"error": "red", "warning": "yellow", "info": "blue"}


class Terminated(KeyboardInterrupt):
    """SIGTERM, on the same way out as Ctrl-C."""


def as_error(raised: BaseException) -> PaictlError | None:
    """What a person is told about it; None for a bug of ours."""
    match raised:
        case PaictlError():
            return raised
        case Terminated():
            return Interrupted("stopped by SIGTERM", signal=signal.SIGTERM)
        case KeyboardInterrupt() | click.Abort():
            return Interrupted("interrupted", signal=signal.SIGINT)
        case click.ClickException():
            return _usage(raised)
        case OSError(strerror=str() as reason):
            where = f"{raised.filename}: " if raised.filename else ""
            return PaictlError(
                f"{where}{reason}", help="Mend that and run it again; what stood before stands unchanged."
            )
        case _:
            return None


def _usage(error: click.ClickException) -> UsageError:
    context: click.Context | None = getattr(error, "ctx", None)
    page = f"{context.command_path} --help" if context else "paictl --help"
    near = getattr(error, "possibilities", None)
    if near:
        return UsageError(
            _sentence(error.message), help=f"Did you mean {' or '.join(near)}? `{page}` lists what there is."
        )
    return UsageError(_sentence(error.format_message()), help=f"`{page}` lists what there is.")


def _sentence(text: str) -> str:
    """The library's sentence in our form: no capital letter after the label, no full stop at the end."""
    return (text[:1].lower() + text[1:]).rstrip(".")


def exit_code(error: PaictlError) -> int:
    """The process's exit code for it."""
    if isinstance(error, Interrupted) and error.signal == signal.SIGTERM:
        return ExitCode.TERMINATED
    return error.exit_code


def show_error(error: PaictlError, terminal: Terminal, *, code: str = "") -> None:
    """On stderr: a JSON document under -o json (and yaml), else the diagnostics, the sentence and what to do next."""
    if terminal.output != "text":
        terminal.alert(terminal.dump(error_document(error, code or error.code)))
        return
    for diagnostic in error.diagnostics:
        for line in diagnostic_lines(diagnostic, terminal):
            terminal.alert(line)
        terminal.alert("")
    label = terminal.style("error:", stream=terminal.err, fg="red", bold=True)
    lines = wrap(f"error: {error.summary}", terminal.err_width, "       ")
    terminal.alert(lines[0].replace("error:", label, 1))
    for line in lines[1:]:
        terminal.alert(line)
    if error.help:
        for line in wrap(f" help: {error.help}", terminal.err_width, "       "):
            terminal.alert(line)


def error_document(error: PaictlError, code: str) -> dict[str, object]:
    """The documented JSON of an error."""
    return {
        "format": "1",
        "error": {
            "code": code,
            "summary": error.summary,
            "help": error.help,
            "diagnostics": [diagnostic_document(diagnostic) for diagnostic in error.diagnostics],
        },
    }


def diagnostic_document(diagnostic: Diagnostic) -> Mapping[str, object]:
    """The documented JSON of a diagnostic."""
    span = diagnostic.span
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "summary": diagnostic.summary,
        "file": span.file if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
        "help": diagnostic.help,
    }


def diagnostic_lines(diagnostic: Diagnostic, terminal: Terminal) -> Sequence[str]:
    """``file:line:col``, the sentence, the line itself with a caret below, and the help."""
    color = _COLORS[diagnostic.severity]
    severity = terminal.style(f"{diagnostic.severity}:", stream=terminal.err, fg=color, bold=True)
    place = terminal.style(str(diagnostic.span), stream=terminal.err, bold=True) + ": " if diagnostic.span else ""
    plain = f"{diagnostic.span}: {diagnostic.severity}: {diagnostic.summary}" if diagnostic.span else diagnostic.summary
    if terminal.err_width and len(plain) > terminal.err_width:
        lines = [f"{place}{severity}", *(f"  {line}" for line in wrap(diagnostic.summary, terminal.err_width - 2))]
    else:
        lines = [f"{place}{severity} {diagnostic.summary}"]
    lines += _snippet(diagnostic, terminal)
    if diagnostic.help:
        lines += wrap(f"  help: {diagnostic.help}", terminal.err_width, "        ")
    return lines


def _snippet(diagnostic: Diagnostic, terminal: Terminal) -> list[str]:
    span = diagnostic.span
    if span is None or not diagnostic.snippet:
        return []
    gutter = f"  {span.line} | "
    room = terminal.err_width - len(gutter) if terminal.err_width else 160
    # A long line is cut so that the caret stays in sight.
    cut = max(0, span.column - 1 - max(0, room - 12)) if len(diagnostic.snippet) > room else 0
    text = diagnostic.snippet.expandtabs(1)[cut : cut + room]
    start = span.column - 1 - cut
    caret = "^" * max(1, min(span.length, room - start, max(1, len(text) - start)))
    color = _COLORS[diagnostic.severity]
    bar = " " * (len(gutter) - 2) + "| "
    return [gutter + text, bar + " " * start + terminal.style(caret, stream=terminal.err, fg=color, bold=True)]
