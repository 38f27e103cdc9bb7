"""The kind ``weights``: model files, fetched into the shared cache and linked from there, believed only by their hash."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from paictl.drivers.native.kind import Act, Here, Seen
from paictl.drivers.native.records import Record
from paictl.engine.model import Health

__all__ = ["ModelFiles"]


class ModelFiles:
    """A model file below ``models/``."""

    def observe(self, here: Here, record: Record) -> Seen | None:
        from paictl.weights.cache import hash_file, verify

        path, wanted = here.layout.root / str(record.spec["path"]), str(record.spec["sha256"])
        if not path.is_file():
            return None
        if verify(path, wanted):
            return Seen(record.spec)
        found = hash_file(path)
        altered = f"the file was altered: its sha256 is {found}, and {wanted} was meant"
        return Seen({**record.spec, "sha256": found}, Health("unhealthy", altered))

    def make(self, act: Act) -> Mapping[str, object] | None:
        from paictl.weights import cache, fetch, sources

        wanted = act.text("sha256")
        path = act.layout.root / act.text("path")
        if not cache.verify(path, wanted):
            cached = fetch.obtain(
                sources.parse(act.text("source")),
                wanted,
                emit=act.emit,
                offline=act.offline,
                address=str(act.step.address),
            )
            cache.place(cached, path, wanted)
        return None

    def remove(self, act: Act) -> None:
        path = act.layout.root / act.text("path")
        for one in (path, path.with_name(f"{path.name}.stamp")):
            one.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
