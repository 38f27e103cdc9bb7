"""The runtime as text: its code, its locked dependencies and the programs beside it.

Used for the image's build context and for the files that a role copies. Reads paictl's own files only.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from paictl.assets import asset
from paictl.blueprint.runtime import requirements, runtime_code

__all__ = ["runtime_source"]

_PROGRAMS = ("connect.py", "fetch.py", "health.py")


@cache
def runtime_source() -> Mapping[str, str]:
    """Path -> text; the code lies below ``source/``."""
    files = {"requirements.txt": requirements()}
    files |= {name: asset("templates", "docker", name) for name in _PROGRAMS}
    files |= {f"source/paictl/{name}": path for name, path in runtime_code().items()}
    return {name: path.read_text(encoding="utf-8") for name, path in files.items()}
