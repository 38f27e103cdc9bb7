"""What the model servers' programs share: their two flags, their working directory, and how they fail in one line."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn, TypeVar

from pydantic import BaseModel

from paictl.runtime.config import load

__all__ = ["fail", "free_socket", "launch"]

_C = TypeVar("_C", bound=BaseModel)

# The kernel's limit of a Unix socket's path, without the final zero.
_LONGEST_SOCKET_PATH = 107


def launch(program: str, kind: type[_C]) -> _C:
    """Read the flags, enter ``--root`` and read the configuration; ends the program when that can't be done."""
    parser = argparse.ArgumentParser(prog=f"paictl.runtime.engines.{program}")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    try:
        os.chdir(options.root)
        return load(kind, options.config)  # type: ignore[type-var] # the base class of configurations is private
    except (OSError, ValueError) as problem:
        fail(program, str(problem))


def fail(program: str, message: str) -> NoReturn:
    """One line that says what is wrong, and the exit code 1."""
    sys.exit(f"{program}: {' '.join(message.split())}")


def free_socket(program: str, path: str) -> None:
    """Make room for a Unix socket: a killed predecessor leaves its own behind, and that can't be bound again."""
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        fail(program, f"the socket's path is longer than {_LONGEST_SOCKET_PATH} bytes: {path}")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).unlink(missing_ok=True)
