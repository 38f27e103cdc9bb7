"""Around every change of a role: keeps what was found before it, writes down how it was left, and undoes it in the end.

Called by the module ``paictl_keep``. The record begins before the first change, so that whatever a crash leaves is known as ours,
and is whole only after the last; it goes last when everything is put back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import disk, found, items, records, restoring

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["adopt", "begin", "finish", "remove"]


def begin(record: Mapping[str, Any], manages: Mapping[str, Iterable[str]]) -> None:
    """Before the first change."""
    names = items.named(manages)
    with disk.locked():
        if records.read(record) is None:
            # Nothing fits it yet: it bears no label.
            records.write({**record, "fingerprint": "", "begun": True, "items": {}})
        found.claim(names, records.holder(record))


def finish(record: Mapping[str, Any], manages: Mapping[str, Iterable[str]]) -> None:
    """After the last: what is no longer managed is put back, and how the rest was left is written down."""
    names = items.named(manages)
    with disk.locked():
        _let_go(record, set(names))
        records.write({**record, "items": items.read(names)})


def adopt(record: Mapping[str, Any], manages: Mapping[str, Iterable[str]]) -> None:
    """Take what stands for paictl's own; changes nothing else."""
    names = items.named(manages)
    with disk.locked():
        records.write({**record, "items": items.read(names)})
        found.claim(names, records.holder(record), adopted=True)


def remove(record: Mapping[str, Any]) -> None:
    """Put back everything that was found, and forget. Nothing there is fine."""
    with disk.locked():
        _let_go(record, set())
        records.erase(record)
        disk.retire()


def _let_go(record: Mapping[str, Any], kept: set[str]) -> None:
    holder = records.holder(record)
    going = [entry for entry in found.held(holder) if entry.item not in kept]
    restoring.restore([entry for entry in going if entry.holders == [holder]])
    for entry in going:
        found.release(entry, holder)
