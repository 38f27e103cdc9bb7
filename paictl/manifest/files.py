"""Finds and reads the files a manifest consists of: the first, its sibling for the target, further layers, standard input."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from paictl.errors import Span
from paictl.manifest.findings import Findings

__all__ = ["MAX_BYTES", "STDIN", "Text", "read_manifest", "sibling"]

STDIN = "-"
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Text:
    """A manifest's text; ``file`` is the name that messages show, ``folder`` what relative paths in it start from."""

    file: str
    folder: Path
    text: str


def read_manifest(path: Path | str, cwd: Path, findings: Findings) -> Text | None:
    """Read one file or standard input (``-``); report into ``findings`` and return ``None`` when that fails."""
    if str(path) == STDIN:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
        return _decode(data, "<stdin>", cwd, findings)
    file, real = str(path), cwd / Path(path).expanduser()
    span = Span(file, 1)
    try:
        if real.exists() and not real.is_file():
            inside = real / "agent.yaml"
            advice = f"did you mean {Path(file) / 'agent.yaml'}?" if inside.is_file() else "name the file itself"
            findings.add("not-a-file", f"{file} is not a file", span, advice=advice)
            return None
        with real.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        findings.add(
            "not-found", f"{file} does not exist", span, advice="write one with `paictl init`, or name it with -f"
        )
        return None
    except OSError as error:
        findings.add("not-readable", f"{file}: {error.strerror}", span, advice="check who owns it and who may read it")
        return None
    return _decode(data, file, real.parent, findings)


def sibling(first: Path | str, target: str, cwd: Path) -> Path | None:
    """``agent.<target>.yaml`` beside ``agent.yaml``, if there is one."""
    if str(first) == STDIN:
        return None
    path = Path(first)
    beside = path.with_name(f"{path.stem}.{target}{path.suffix}")
    return beside if (cwd / beside.expanduser()).is_file() else None


def _decode(data: bytes, file: str, folder: Path, findings: Findings) -> Text | None:
    if len(data) > MAX_BYTES:
        advice = "keep long texts in files of their own: {file: …}"
        findings.add("too-large", f"{file} is larger than 1 MiB", Span(file, 1), advice=advice)
        return None
    try:
        return Text(file, folder, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        summary = f"byte 0x{data[error.start]:02x} is not UTF-8"
        findings.add("not-utf8", summary, Span(file, line, column), advice="save the file as UTF-8")
        return None
