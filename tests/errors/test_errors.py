"""Runs every case beside it: ``<case>/agent.yaml`` must fail with exactly ``<case>/expected.txt``.

A contributor adds a folder with an ``agent.yaml`` and runs ``PAICTL_WRITE_GOLDENS=1 pytest tests/errors``, then reads what was
written. ``agent.<target>.yaml`` and included files may stand beside it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paictl.errors import Diagnostic, ExitCode, ManifestError
from paictl.manifest.codes import CODES
from paictl.manifest.load import load

_HERE = Path(__file__).parent
_CASES = sorted(path.parent.name for path in _HERE.glob("*/agent.yaml"))
# Only told by a file system or by a caller, or only a warning; tests/manifest has them.
_ELSEWHERE = {"not-found", "not-a-file", "not-readable", "too-large", "no-chat-model"}


def _told(diagnostic: Diagnostic, folder: Path) -> str:
    span = diagnostic.span
    assert span is not None
    lines = [f"{span} {diagnostic.severity}[{diagnostic.code}] {diagnostic.summary}"]
    if diagnostic.snippet:
        text = diagnostic.snippet.expandtabs(1)
        text, start = text.lstrip(), span.column - 1 - (len(text) - len(text.lstrip()))
        lines += [f"    {text[:160]}", "    " + " " * start + "^" * span.length]
    if diagnostic.help:
        lines.append(f"    help: {diagnostic.help}")
    return "\n".join(line.rstrip() for line in lines).replace(str(folder), "FOLDER") + "\n"


def _errors(case: str) -> ManifestError:
    with pytest.raises(ManifestError) as raised:
        load(["agent.yaml"], env={}, cwd=_HERE / case)
    return raised.value


@pytest.mark.parametrize("case", _CASES)
def test_every_error_of_a_manifest_is_told_at_once_with_its_place_and_what_to_do(case: str) -> None:
    error = _errors(case)
    told = "\n".join(_told(diagnostic, _HERE / case) for diagnostic in error.diagnostics)
    golden = _HERE / case / "expected.txt"
    if os.environ.get("PAICTL_WRITE_GOLDENS"):
        golden.write_text(told, encoding="utf-8")
    assert told == golden.read_text(encoding="utf-8")
    assert error.exit_code == ExitCode.USAGE
    places = [(d.span.file, d.span.line, d.span.column) for d in error.diagnostics if d.span is not None]
    assert places == sorted(places)


def test_every_code_has_a_case() -> None:
    told = {diagnostic.code for case in _CASES for diagnostic in _errors(case).diagnostics}
    assert told | _ELSEWHERE == set(CODES)


def test_every_error_says_what_to_do() -> None:
    silent = {d.summary for case in _CASES for d in _errors(case).diagnostics if not d.help}
    assert silent == set()


def test_no_message_about_a_literal_secret_repeats_it() -> None:
    text = repr(_errors("literal-secrets").diagnostics)
    for secret in ("abcdefghij", "hunter2", "AKIAABCD"):
        assert secret not in text
