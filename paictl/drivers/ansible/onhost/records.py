"""The records of one host: what each made thing manages, and how that was left. Read by looking, written by keeping.

One file a resource, ``/var/lib/paictl/.records/AGENT.TARGET/KIND.NAME.json``. What it says of itself counts, not its path.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from . import disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["erase", "every", "holder", "read", "write"]

FORMAT = 1


def holder(record: Mapping[str, Any]) -> str:
    """Who manages, in one word: ``AGENT.TARGET/KIND.NAME``."""
    scope, thing = (
        f"{quote(record[a], '')}.{quote(record[b], '')}" for a, b in (("agent", "target"), ("kind", "name"))
    )
    return f"{scope}/{thing}"


def path(record: Mapping[str, Any]) -> Path:
    """Where it is kept."""
    return disk.RECORDS / f"{holder(record)}.json"


def read(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record that stands for the same thing."""
    return disk.read_json(path(record))


def write(record: Mapping[str, Any]) -> None:
    """Keep it, durably."""
    disk.write_json(path(record), {"format": FORMAT, **record})


def erase(record: Mapping[str, Any]) -> None:
    """Forget it, and its agent with the last one of it."""
    disk.remove(path(record))
    with contextlib.suppress(OSError):  # there are others, or never was one
        path(record).parent.rmdir()


def every() -> Iterator[dict[str, Any]]:
    """All of the host, of every agent; a damaged one raises ``ValueError``: what it told of would be taken for nobody's."""
    for folder in disk.entries(disk.RECORDS):
        for one in disk.entries(folder):
            # Half written, or another part's: a record is called KIND.NAME.json.
            if one.name.startswith(".") or one.suffix != ".json" or "." not in one.stem:
                continue
            content = disk.read_json(one)
            if content is None or not {"agent", "target", "kind", "name"} <= content.keys():
                message = f"{one} can't be read: it is no record of paictl"
                raise ValueError(message)
            if content.get("format") != FORMAT:
                message = f"{one} was written by another paictl, which this one does not understand"
                raise ValueError(message)
            yield content
