"""Which runtime goes onto a target: its code, its locked dependencies, and the digest that pins both.

Called by whoever compiles a blueprint and by the drivers that install the runtime; installs nothing itself.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import paictl
from paictl.assets import asset
from paictl.blueprint.types import RuntimePin

__all__ = ["requirements", "runtime_code", "runtime_pin"]

_PACKAGE = Path(paictl.__file__).resolve().parent
# The floor and the manifest's types: all that the runtime imports beside itself (checked by import-linter).
_FLOOR = (
    "__init__.py",
    "assets.py",
    "clock.py",
    "errors.py",
    "events.py",
    "places.py",
    "sandbox.py",
    "manifest/__init__.py",
    "manifest/conduct.py",
    "manifest/models.py",
    "manifest/quantities.py",
    "manifest/sections.py",
)
# Holds the version alone. A release that changes nothing of the runtime must not make every agent install it again.
_WITHOUT_DIGEST = "__init__.py"


def runtime_code() -> dict[str, Path]:
    """The files of the runtime by their place inside the package ``paictl``, sorted."""
    names = set(_FLOOR)
    for path in (_PACKAGE / "runtime").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            names.add(path.relative_to(_PACKAGE).as_posix())
    return {name: _PACKAGE / name for name in sorted(names)}


def requirements() -> Path:
    """The runtime's dependencies, locked with hashes."""
    return asset("requirements", "runtime.txt")


@lru_cache(maxsize=1)
def runtime_pin() -> RuntimePin:
    """The pin of the runtime that this paictl carries."""
    total = hashlib.sha256()
    for name, path in (*runtime_code().items(), ("requirements", requirements())):
        if name != _WITHOUT_DIGEST:
            total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return RuntimePin(version=paictl.__version__, digest=total.hexdigest())
