"""The kind ``file``: rendered configuration, read back from disk each time, so that an edit by hand shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from paictl.drivers.native.disk import write
from paictl.drivers.native.kind import Act, Here, Seen
from paictl.drivers.native.records import Record
from paictl.render.native import text

__all__ = ["Files", "content", "encode"]


class Files:
    """A file below ``config/``. Its content is JSON data, or plain text."""

    def observe(self, here: Here, record: Record) -> Seen | None:
        path = here.layout.root / str(record.spec["path"])
        return Seen({**record.spec, "content": content(path)}) if path.is_file() else None

    def make(self, act: Act) -> Mapping[str, object] | None:
        write(act.layout.root / act.text("path"), encode(act.spec["content"]))
        return None

    def remove(self, act: Act) -> None:
        path = act.layout.root / act.text("path")
        path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


def content(path: Path) -> object:
    """What the file holds: its JSON data where it is JSON, else its text."""
    raw = path.read_text(encoding="utf-8", errors="surrogateescape")
    if path.suffix == ".json":
        try:
            return json.loads(raw)
        except ValueError:
            return raw
    return raw


def encode(value: object) -> bytes:
    """The bytes that ``content`` reads back as the same value."""
    return (value if isinstance(value, str) else text(value)).encode("utf-8", "surrogateescape")
