"""The process boundary: the one place where errors, signals and bugs become text or JSON and an exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

from paictl.cli.console.failure import show_error
from paictl.cli.console.terminal import Terminal, prepare_streams
from paictl.cli.flags import early_terminal, leading_flags
from paictl.cli.program import program
from paictl.errors import ExitCode, Interrupted, PaictlError, UsageError

__all__ = ["entry"]


def entry() -> int:
    """Run ``paictl`` with the process's arguments; returns the exit code and raises nothing."""
    prepare_streams()
    signal.signal(signal.SIGTERM, _terminate)
    argv = leading_flags(sys.argv[1:])
    terminal = early_terminal(argv)
    try:
        return _run(argv)
    except (Exception, KeyboardInterrupt) as raised:  # noqa: BLE001 - the last fence: told or kept in a report, never a traceback
        error = _told(raised)
        if error is None:
            return _bug(raised, argv, terminal)
        show_error(error, terminal)
        return _exit_code(error)


def _run(argv: Sequence[str]) -> int:
    if not argv:
        argv = ["--help"]
    result = program.main(args=list(argv), prog_name="paictl", standalone_mode=False)
    return result if isinstance(result, int) else 0


class _Terminated(KeyboardInterrupt):
    """SIGTERM, on the same way out as Ctrl-C."""


def _terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise _Terminated


def _told(raised: BaseException) -> PaictlError | None:
    """What a person is told about it; None for a bug of ours."""
    match raised:
        case PaictlError():
            return raised
        case _Terminated():
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


def _exit_code(error: PaictlError) -> int:
    if isinstance(error, Interrupted) and error.signal == signal.SIGTERM:
        return ExitCode.TERMINATED
    return error.exit_code


def _bug(raised: BaseException, argv: Sequence[str], terminal: Terminal) -> int:
    from paictl.cli.console.report import write_report

    path = write_report(raised, argv)
    kept = (
        f"Please attach {path} to a report; secrets are taken out of it."
        if path
        else "Its report could not be written."
    )
    error = PaictlError(f"a bug in paictl: {type(raised).__name__}", help=kept)
    show_error(error, terminal, code="bug")
    return ExitCode.BUG
