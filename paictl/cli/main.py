"""The process boundary: the one place where errors, signals and bugs become text or JSON and an exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

from paictl.cli.console.failure import Terminated, as_error, exit_code, show_error
from paictl.cli.console.terminal import Terminal, prepare_streams
from paictl.cli.early import early_terminal, leading_flags
from paictl.cli.program import program
from paictl.errors import ExitCode, PaictlError

__all__ = ["entry"]

_ALLOCATIONS = 100_000


def entry() -> int:
    """Run ``paictl`` with the process's arguments; returns the exit code and raises nothing."""
    prepare_streams()
    # Modules and manifests are no garbage: looking through all of them for some costs a tenth of a plan.
    gc.set_threshold(_ALLOCATIONS)
    # Nobody plugs into our models; looking through every installed package for plugins costs 15 ms of each start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    signal.signal(signal.SIGTERM, _terminate)
    argv = leading_flags(sys.argv[1:])
    try:
        return _run(argv)
    except (Exception, KeyboardInterrupt) as raised:  # noqa: BLE001 - the last fence: told or kept in a report, never a traceback
        error = as_error(raised)
        terminal = early_terminal(argv, _settings())
        if error is None:
            return _bug(raised, argv, terminal)
        show_error(error, terminal)
        return exit_code(error)
    finally:
        # What is left goes with the process: the interpreter's last look through it costs another eighth of a plan.
        gc.freeze()


def _run(argv: Sequence[str]) -> int:
    if not argv:
        argv = ["--help"]
    result = program.main(args=list(argv), prog_name="paictl", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _settings() -> Mapping[str, object]:
    from paictl.cli.settings import default_flags

    try:
        return default_flags()
    except (PaictlError, OSError):
        return {}  # what is wrong with them is the error that is being told


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


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
