"""Formats of the files that keep state: each content says its own, older ones are read through upgraders, newer ones refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from paictl.errors import Refused

__all__ = ["CURRENT", "UPGRADERS", "Damaged", "decode", "encode", "upgrade"]

CURRENT = 1

Upgrader = Callable[[dict[str, Any]], dict[str, Any]]

UPGRADERS: Mapping[int, Upgrader] = {}
"""From each older format to the next. Every old format reads forever: entries are added, never removed."""


class Damaged(ValueError):
    """The content is not what was written: cut off, or edited by hand."""


def encode(content: Mapping[str, object]) -> bytes:
    """The content as a file's bytes, with its format first."""
    return json.dumps({"format": CURRENT, **content}, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")


def decode(data: bytes, what: str) -> dict[str, Any]:
    """The content in the current format; ``Damaged`` when it can't be read, ``Refused`` when a newer paictl wrote it."""
    try:
        content = json.loads(data)
    except ValueError as error:
        raise Damaged(str(error)) from error
    if not isinstance(content, dict):
        raise Damaged(f"{what} is not a mapping")
    return upgrade(content, what)


def upgrade(
    content: dict[str, Any], what: str, upgraders: Mapping[int, Upgrader] = UPGRADERS, current: int = CURRENT
) -> dict[str, Any]:
    """Lift the content through the chain of upgraders."""
    version = content.get("format")
    if not isinstance(version, int):
        raise Damaged(f"{what} does not say its format")
    if version > current:
        raise Refused(
            f"{what} has format {version}, and this paictl knows up to {current}: a newer paictl wrote it",
            help="Use that paictl, or a newer one.",
        )
    while version < current:
        if version not in upgraders:
            raise Damaged(f"{what} has format {version}, which never existed")
        content = upgraders[version](content)
        version += 1
    return {**content, "format": current}
