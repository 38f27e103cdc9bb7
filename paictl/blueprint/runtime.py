"""Which runtime goes onto a target: its code, its locked dependencies, and the digest that pins both.

Called by whoever compiles a blueprint, by the drivers that install the runtime and by the renderers that write it out;
installs nothing itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import paictl
from paictl.assets import asset
from paictl.blueprint.types import RuntimePin

__all__ = ["requirements", "runtime_code", "runtime_pin"]

_PACKAGE = Path(paictl.__file__).resolve().parent
# What is imported beside the runtime itself. Read from the text: parsing every module would cost each plan 80 ms, this costs
# 5. A test compares it with the parser.
_IMPORT = re.compile(
    r"^ *(?:from (paictl(?!\.runtime)[\w.]*) import (\([^)]*\)|.*)|import (paictl[\w.]*))", re.MULTILINE
)
# What an image of it is made with, below templates/docker: an agent whose lock keeps the pin keeps its image.
_IMAGE = ("Dockerfile.j2", "compile.py", "connect.py", "fetch.py", "health.py", "strip.py")
# Holds the version alone. A release that changes nothing of the runtime must not make every agent install it again.
_WITHOUT_DIGEST = "__init__.py"


@cache
def runtime_code() -> Mapping[str, Path]:
    """The runtime's own files and, followed import by import, what they need of the rest; by place in ``paictl``, sorted."""
    waiting = [_PACKAGE / "__init__.py", *(_PACKAGE / "runtime").rglob("*.py")]
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(file.read_text(encoding="utf-8"))
    return {name: _PACKAGE / name for name in sorted(file.relative_to(_PACKAGE).as_posix() for file in found)}


def _imported(code: str) -> Iterator[Path]:
    """The files of paictl's modules that the code names, each with the packages that it lies in."""
    for package, names, module in _IMPORT.findall(code):
        yield from _files_of(package or module)
        # What is imported from a package may be a module of it.
        for name in re.findall(r"\w+", names):
            yield from _files_of(f"{package}.{name}")


def _files_of(name: str) -> Iterator[Path]:
    module = _PACKAGE.joinpath(*name.split(".")[1:])
    while module != _PACKAGE:
        yield from (path for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file())
        module = module.parent


def requirements() -> Path:
    """The runtime's dependencies, locked with hashes."""
    return asset("requirements", "runtime.txt")


@cache
def runtime_pin() -> RuntimePin:
    """The pin of the runtime that this paictl carries."""
    total = hashlib.sha256()
    image = ((f"image/{name}", asset("templates", "docker", name)) for name in _IMAGE)
    for name, path in (*runtime_code().items(), ("requirements", requirements()), *image):
        if name != _WITHOUT_DIGEST:
            total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return RuntimePin(version=paictl.__version__, digest=total.hexdigest())
