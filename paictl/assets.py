"""Where the published folders (schemas, templates, roles, profiles, requirements, examples) are found at run time.

They live at the top of the repository; a wheel carries them inside the package under ``_data``.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["asset"]

_PACKAGE = Path(__file__).resolve().parent


def asset(*parts: str) -> Path:
    """The path of a published file or folder, such as ``asset("profiles", "edge.yaml")``.

    Raises ``FileNotFoundError`` when neither the wheel's copy nor the repository has it.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    message = f"paictl's own file {'/'.join(parts)} is missing; reinstall paictl"
    raise FileNotFoundError(message)
