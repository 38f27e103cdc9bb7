"""Reads the files that a manifest includes and hashes them, so that every byte is part of the plan.

An included file lies in the folder of the file that names it, or below, by its real path: no absolute path, no ``..``, no
symbolic link that leads out. Included text reaches the agent and whatever model it uses, and a manifest may arrive by git:
it must not be able to pick up ``~/.ssh/id_ed25519``. What several agents share is named by a layer of its own (``-f``)
that lies beside the shared files.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from paictl.manifest.files import MAX_BYTES
from paictl.manifest.findings import Findings, TreePath
from paictl.manifest.merge import Origins
from paictl.manifest.tree import matching, value_at

__all__ = ["Included", "read_included", "rebase"]

# Where a manifest names files to be read; the last part holds the path.
_PLACES: tuple[tuple[str, ...], ...] = (
    ("spec", "instructions", "file"),
    ("spec", "skills", "*", "file"),
    ("spec", "workflows", "*", "prompt", "file"),
    ("spec", "tools", "*", "openapi"),
)
# Files that are named, but never read into the plan.
_SECRET_PLACES: tuple[tuple[str, ...], ...] = (("spec", "secrets", "*", "file"), ("spec", "secrets", "*", "identity"))


@dataclass(frozen=True, slots=True)
class Included:
    """A file's text as it was when the manifest was loaded. ``file`` is relative to the manifest's folder."""

    file: str
    text: str
    sha256: str


def rebase(tree: dict[str, Any], origins: Origins, folders: Mapping[str, Path], folder: Path) -> None:
    """Rewrite names that were relative to the folder of a further layer, so that all are relative to ``folder``."""
    for path, name in _named(tree, (*_PLACES, *_SECRET_PLACES)):
        base = folders.get(origins.find(path).file, folder)
        if base != folder and not name.startswith(("/", "~")):
            value_at(tree, path[:-1])[path[-1]] = os.path.relpath(base / name, folder)


def read_included(
    tree: Mapping[str, Any], origins: Origins, folders: Mapping[str, Path], folder: Path, findings: Findings
) -> dict[TreePath, Included]:
    """Every included file by the path that names it. ``folders`` is where each source file lies; call before ``rebase``."""
    included: dict[TreePath, Included] = {}
    for path, name in _named(tree, _PLACES):
        span = origins.find(path)
        base = folders.get(span.file, folder)
        read = _read(name, base)
        if isinstance(read, bytes):
            try:
                text = read.decode()
            except UnicodeDecodeError:
                findings.add("include", f"{name} is not UTF-8 text", span, advice="save it as UTF-8")
                continue
            shown = name if base == folder else os.path.relpath(base / name, folder)
            included[path] = Included(shown, text, hashlib.sha256(read).hexdigest())
        else:
            findings.add("include", read[0], span, advice=read[1])
    return included


def _read(name: str, folder: Path) -> bytes | tuple[str, str]:
    """The file's bytes, else what is wrong and what to do."""
    path = folder / name
    try:
        return _refused(name, path, folder) or path.read_bytes()
    except FileNotFoundError:
        return f"{name} does not exist", f"create it, or correct the path; it is looked for in {folder}"
    except OSError as error:
        return f"{name} can't be read: {error.strerror or error}", "check the path and its permissions"


def _refused(name: str, path: Path, folder: Path) -> tuple[str, str] | None:
    pure = PurePosixPath(name)
    if pure.is_absolute() or name.startswith("~") or ".." in pure.parts:
        return f"{name} lies outside the folder of the manifest", _STAY
    if not path.resolve().is_relative_to(folder.resolve()):
        return f"{name} leads out of the folder of the manifest by a symbolic link", _STAY
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return f"{name} is not a file", "name a text file"
    if status.st_size > MAX_BYTES:
        return f"{name} is larger than 1 MiB", "instructions, skills and API descriptions are short texts"
    return None


_STAY = "keep included files beside or below the manifest; shared ones come with a layer of their own (-f)"


def _named(tree: Mapping[str, Any], places: tuple[tuple[str, ...], ...]) -> list[tuple[TreePath, str]]:
    """The names of files that stand at these places."""
    return [(path, value) for place in places for path, value in matching(tree, place) if isinstance(value, str)]
