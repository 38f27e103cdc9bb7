"""What was on a host before the first of paictl's changes, one entry an item, with who manages the item now. Used by ``keeping``.

An entry is written once and never overwritten by a state that paictl made: several agents may share an item, and the first of
them found it. It goes with its last holder, who puts back what it says. Everything here is called with the host's lock held.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from . import disk, items, services

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Entry", "claim", "held", "installed_before", "release"]

_PACKAGES = disk.FOUND / "packages.json"


class Entry:
    """One item as it was found. ``content``: what it held, where it was a file or a table."""

    def __init__(self, item: str, state: Any, holders: Iterable[str]) -> None:
        self.item, self.state, self.holders = item, state, list(holders)

    @property
    def kind(self) -> str:
        return self.item.partition(":")[0]

    @property
    def name(self) -> str:
        return self.item.partition(":")[2]

    @property
    def path(self) -> Path:
        return disk.FOUND / f"{hashlib.sha256(self.item.encode()).hexdigest()[:32]}.json"

    @property
    def content(self) -> bytes:
        return self.path.with_suffix(".content").read_bytes()

    def save(self) -> None:
        disk.write_json(self.path, {"item": self.item, "state": self.state, "holders": sorted(self.holders)})

    def forget(self) -> None:
        disk.remove(self.path)
        disk.remove(self.path.with_suffix(".content"))


def _read(path: Path) -> Entry | None:
    content = disk.read_json(path)
    return Entry(content["item"], content["state"], content["holders"]) if content and "item" in content else None


def claim(names: Iterable[str], holder: str, *, adopted: bool = False) -> None:
    """Say that ``holder`` manages these from now on, and keep what was there where nobody managed it yet.

    ``adopted``: what is there counts as paictl's own, so that it goes when it is no longer wanted.
    """
    fresh = []
    for item in names:
        entry = _read(Entry(item, None, ()).path)
        if entry is None:
            fresh.append(item)
        elif holder not in entry.holders:
            entry.holders.append(holder)
            entry.save()
    states = items.read(fresh)
    if any(item.startswith("package:") for item in fresh):
        _note_packages()
    for item in fresh:
        entry = Entry(item, None if adopted else states[item], [holder])
        _copy(entry)
        entry.save()


def _copy(entry: Entry) -> None:
    """The content comes first: an entry whose content was lost could put nothing back."""
    content = None
    if entry.kind == "file" and entry.state and "sha256" in entry.state:
        with open(entry.name, "rb") as file:  # noqa: PTH123 - as a path it says no more
            content = file.read()
    elif entry.kind == "nft_table" and entry.state:
        _, text = services.tell(["nft", "--stateless", "list", "table", *entry.name.split()])
        content = text.encode()
    if content is not None:
        disk.write(entry.path.with_suffix(".content"), content)


def held(holder: str) -> list[Entry]:
    """Everything that ``holder`` manages."""
    return [entry for entry in _every() if holder in entry.holders]


def _every() -> Iterator[Entry]:
    for path in disk.entries(disk.FOUND):
        if path.suffix == ".json" and not path.name.startswith(".") and path != _PACKAGES:
            entry = _read(path)
            if entry is not None:
                yield entry


def release(entry: Entry, holder: str) -> None:
    """``holder`` manages it no more; called once what was found is back, where that was the last one."""
    entry.holders.remove(holder)
    if entry.holders:
        entry.save()
    else:
        entry.forget()


def _note_packages() -> None:
    """Which packages the host had: what comes with those that paictl installs can be told from them later."""
    if not _PACKAGES.exists():
        disk.write_json(_PACKAGES, {"installed": _installed()})


def _installed() -> list[str]:
    _, text = services.tell(["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n"])
    return sorted(line.partition(" ")[0] for line in text.splitlines() if line.endswith(" installed"))


def installed_before() -> frozenset[str] | None:
    """The packages that the host had before paictl's first; None where that was never noted."""
    content = disk.read_json(_PACKAGES)
    return frozenset(content["installed"]) if content else None
