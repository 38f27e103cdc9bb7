"""Keeps what is needed to mend a bug in a file without anything private. Called by ``main`` for what nobody foresaw."""

from __future__ import annotations

import os
import platform
import re
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from paictl import __version__, places

__all__ = ["write_report"]

# Anything that could be a key: long runs without a space that mix letters and digits.
_TOKEN = re.compile(r"(?=[A-Za-z0-9_\-+/=.]*[0-9])(?=[A-Za-z0-9_\-+/=.]*[A-Za-z])[A-Za-z0-9_\-+=]{20,}")
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)


def write_report(error: BaseException, argv: Sequence[str]) -> Path | None:
    """Write the report, 0600, and return its path; None when it can't be written, which must not hide the bug itself.

    It holds the versions, the verb with the names of its flags (never a value or a text), and the places in the code. The
    message of the exception is kept with everything that could be a secret or a person's path taken out; no locals.
    """
    now = datetime.now(UTC)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [
        f"paictl {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        f"at {now:%Y-%m-%dT%H:%M:%SZ}: paictl {' '.join(_shape(argv))}",
        "",
        *(f"  {_package_path(frame.filename)}:{frame.lineno} in {frame.name}" for frame in frames),
        f"{type(error).__module__}.{type(error).__qualname__}: {redact(str(error))}",
        "",
    ]
    folder = places.state_home() / "reports"
    path = folder / f"{now:%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as report:
            report.write("\n".join(lines))
    except OSError:
        return None
    return path


def redact(text: str) -> str:
    """The text without values of secret-looking variables, without what looks like a key, without the home folder."""
    for name, value in os.environ.items():
        if len(value) >= 6 and _SECRET_NAME.search(name):
            text = text.replace(value, "[redacted]")
    text = _TOKEN.sub("[redacted]", text)
    return text.replace(str(Path.home()), "~")


def _shape(argv: Sequence[str]) -> list[str]:
    """The verb and the flags' names; a word that is neither shows as a dash."""
    return [
        word.partition("=")[0] if word.startswith("-") else word if index == 0 else "-"
        for index, word in enumerate(argv)
    ]


def _package_path(filename: str) -> str:
    for root in sorted(sys.path, key=len, reverse=True):
        if root and filename.startswith(root + os.sep):
            return filename[len(root) + 1 :]
    return Path(filename).name
