"""The kinds ``directory`` and ``volume``: the agent's root with its fixed folders, and the folders whose content outlives everything."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from paictl import places
from paictl.drivers.native.disk import private_directory, read_json, remove_tree, sweep, write_json
from paictl.drivers.native.kind import Act, Here, Seen
from paictl.drivers.native.layout import Layout
from paictl.drivers.native.records import Record, erase, read_all
from paictl.errors import Refused

__all__ = ["HOME", "Directories", "Homes", "claim", "must_be_readable", "owner", "retire"]

HOME = "home"
_FOLDERS = (
    "config",
    "data",
    "keys",
    "logs",
    "models",
    "records",
    "run",
    "run/supervisor",
    "supervisor",
    "supervisor/rooms",
    "supervisor/services",
    "venv",
)
# What may still stand in a root that holds nothing of the person's any more.
_OURS = frozenset({"paictl.json", "inventory.json", *(one for one in _FOLDERS if "/" not in one)})
# These go with the home although they are not empty; data, keys and models have resources of their own.
_WITH_HOME = ("config", "logs", "run", "supervisor")


def owner(layout: Layout) -> dict[str, object] | None:
    """Whose root it is: ``{"agent", "target"}``, or None when nobody has claimed it."""
    return read_json(layout.owner)


def claim(layout: Layout, target: str) -> None:
    """Make the root and put our name on it; refuses one that somebody else filled or that serves another target."""
    found = owner(layout)
    if found and (found.get("agent"), found.get("target")) != (layout.agent, target):
        raise Refused(
            f"{layout.root} is the home of {found.get('agent')} on {found.get('target')}",
            help="Give one of the two agents another name, or destroy the other one first.",
        )
    if not found and layout.root.exists() and any(layout.root.iterdir()):
        raise Refused(
            f"{layout.root} exists and is not paictl's",
            help=f"Have paictl take it over with `paictl adopt directory/{HOME}`, or move it away.",
        )
    private_directory(layout.root)
    if not found:
        write_json(layout.owner, {"format": 1, "agent": layout.agent, "target": target})


def retire(layout: Layout) -> None:
    """Remove the root when nothing is left in it but what we put there and nothing holds data."""
    if not layout.root.exists() or not {one.name for one in layout.root.iterdir()} <= _OURS:
        return
    if any(path.is_file() for folder in _FOLDERS for path in (layout.root / folder).rglob("*")):
        return
    remove_tree(layout.root)


def must_be_readable(layout: Layout) -> None:
    """Raise ``OSError`` for a folder of ours that can't be read: what would be found there would look like nothing.

    Asked once and explicitly, since later Pythons answer "it does not exist" for what may not be looked at.
    """

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for folder in (layout.root, layout.secrets):
        for _, folders, _ in os.walk(folder, onerror=fail):
            # What agents keep and software that is compared by its marker alone: large, and none of it is looked at.
            folders[:] = [one for one in folders if one not in {"data", "venv"}]


class Homes:
    """The root itself: made first, removed last, and then only as far as no data is in it."""

    def observe(self, here: Here, record: Record) -> Seen | None:
        layout = here.layout
        if not all((layout.root / folder).is_dir() for folder in _FOLDERS) or not layout.secrets.is_symlink():
            return None
        return Seen({**record.spec, "mode": _mode(layout.root)})

    def make(self, act: Act) -> Mapping[str, object] | None:
        layout = act.layout
        claim(layout, act.step.address.target)
        for folder in _FOLDERS:
            private_directory(layout.root / folder)
        target = places.runtime_home() / layout.mark / "secrets"
        if not layout.secrets.is_symlink():
            remove_tree(layout.secrets)
            layout.secrets.symlink_to(target)
        return None

    def remove(self, act: Act) -> None:
        layout = act.layout
        for folder in _WITH_HOME:
            remove_tree(layout.root / folder)
        _empty(layout.volatile)
        _empty(layout.socket.parent)
        layout.secrets.unlink(missing_ok=True)
        for folder in ("keys", "models", "records", "venv"):
            sweep(layout.root / folder)
        for record in read_all(layout, act.step.address.target):
            if not record.holds_data:
                erase(layout, record.address, record.instance)
        for folder in ("models", "venv"):
            _empty(layout.root / folder)
        for folder in ("data", "keys"):
            with contextlib.suppress(OSError):
                (layout.root / folder).rmdir()


class Directories:
    """A folder of its own below the root, 0700."""

    def observe(self, here: Here, record: Record) -> Seen | None:
        path = here.layout.root / str(record.spec["path"])
        return Seen({**record.spec, "mode": _mode(path)}) if path.is_dir() else None

    def make(self, act: Act) -> Mapping[str, object] | None:
        private_directory(act.layout.root / act.text("path"))
        return None

    def remove(self, act: Act) -> None:
        path = act.layout.root / act.text("path")
        if act.step.effect and act.step.effect.destroys:
            remove_tree(path)
        else:
            # Whoever planned this did not mean to destroy data: an empty folder may go, a filled one stays.
            _empty(path)


def _mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def _empty(path: Path) -> None:
    """Remove a directory with the empty directories below it, and leave it where it holds anything."""
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
