"""Around every change of a role: keeps what was found before it, writes down how it was left, and undoes it in the end.

Called by the module ``paictl_keep``. The record begins before the first change, so that whatever a crash leaves is known as ours,
and is whole only after the last; it goes last when everything is put back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import disk, found, items, records, restoring

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["adopt", "begin", "finish", "leave", "remove"]

# In a record between the first change and the last: how what others manage, too, was before it.
_SEEN = "seen"


def begin(record: Mapping[str, Any], manages: Mapping[str, Iterable[str]]) -> None:
    """Before the first change."""
    names = items.named(manages)
    with disk.locked():
        standing = records.read(record)
        # Nothing fits one that is new: it bears no label.
        before = standing or {**record, "fingerprint": "", "begun": True, "items": {}}
        _write_down(before, names)
        found.claim(names, records.holder(record))


def finish(record: Mapping[str, Any], manages: Mapping[str, Iterable[str]]) -> None:
    """After the last: what is no longer managed is put back, and how the rest was left is written down."""
    names = items.named(manages)
    with disk.locked():
        seen = _seen(record)
        _let_go(record, set(names))
        _tell_others(record, seen)
        records.write({**record, "items": items.read(names)})


def adopt(record: Mapping[str, Any], manages: Mapping[str, Iterable[str]]) -> None:
    """Take what stands for paictl's own; changes nothing else."""
    names = items.named(manages)
    with disk.locked():
        records.write({**record, "items": items.read(names)})
        found.claim(names, records.holder(record), adopted=True)


def leave(record: Mapping[str, Any]) -> None:
    """Before the first change of a removal. Nothing there is fine."""
    with disk.locked():
        standing = records.read(record)
        if standing is not None:
            _write_down(standing, standing["items"])


def remove(record: Mapping[str, Any]) -> None:
    """Put back everything that was found, and forget. Nothing there is fine."""
    with disk.locked():
        seen = _seen(record)
        _let_go(record, set())
        _tell_others(record, seen)
        records.erase(record)
        disk.retire()


def _let_go(record: Mapping[str, Any], kept: set[str]) -> None:
    holder = records.holder(record)
    going = [entry for entry in found.held(holder) if entry.item not in kept]
    restoring.restore([entry for entry in going if entry.holders == [holder]])
    for entry in going:
        found.release(entry, holder)


def _others(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    holder = records.holder(record)
    return [one for one in records.every() if records.holder(one) != holder]


def _write_down(record: Mapping[str, Any], names: Iterable[str]) -> None:
    """How what others manage, too, is before we change it; what a crash cut short still knows it."""
    shared = {item for one in _others(record) for item in one["items"]}.intersection(names)
    records.write({**record, _SEEN: {**items.read(shared), **record.get(_SEEN, {})}})


def _seen(record: Mapping[str, Any]) -> Mapping[str, Any]:
    seen: Mapping[str, Any] = (records.read(record) or {}).get(_SEEN, {})
    return seen


def _tell_others(record: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
    """What paictl changed for one agent is no drift to another; what a person had changed before still is."""
    now = items.read(seen)
    moved = {item for item in seen if items.difference(item, seen[item], now[item])}
    for other in _others(record) if moved else ():
        as_left = [item for item in moved if item in other["items"]]
        as_left = [item for item in as_left if not items.difference(item, other["items"][item], seen[item])]
        if as_left:
            records.write({**other, "items": {**other["items"], **{item: now[item] for item in as_left}}})
