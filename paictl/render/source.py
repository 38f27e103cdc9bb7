"""The runtime as text: its own modules, what they import of paictl, its locked dependencies and the programs beside it.

Used for the image's build context and for the files that a role copies. Reads paictl's own files only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from paictl.assets import asset

__all__ = ["runtime_source"]

_PROGRAMS = ("connect.py", "fetch.py", "health.py")


@cache
def runtime_source() -> Mapping[str, str]:
    """Path -> text; the code lies below ``source/``."""
    package = Path(__file__).resolve().parents[1]
    found = {"requirements.txt": asset("requirements", "runtime.txt").read_text(encoding="utf-8")}
    found |= {name: asset("templates", "docker", name).read_text(encoding="utf-8") for name in _PROGRAMS}
    for file in _needed(package):
        found[f"source/paictl/{file.relative_to(package).as_posix()}"] = file.read_text(encoding="utf-8")
    return found


def _needed(package: Path) -> list[Path]:
    """The runtime's files and, followed import by import, what they need of the rest."""
    waiting = [package / "__init__.py", *(package / "runtime").rglob("*.py")]
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file, package)
    return sorted(found)


def _imported(file: Path, package: Path) -> Iterator[Path]:
    """The files of paictl's modules that this one names, each with the packages that it lies in."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            # What is imported from a package may be a module of it.
            names = [f"{node.module}", *(f"{node.module}.{name}" for name in names)]
        for name in names:
            yield from _files_of(name.split("."), package)


def _files_of(parts: list[str], package: Path) -> Iterator[Path]:
    if parts[0] != package.name:
        return
    module = package.joinpath(*parts[1:])
    while module != package:
        yield from (path for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file())
        module = module.parent
