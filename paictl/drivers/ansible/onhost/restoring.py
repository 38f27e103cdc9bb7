"""Puts back what was found: items of a host that nobody manages any more. Called by ``keeping``; may be repeated after a crash."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import disk, items, packages, services

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .found import Entry

__all__ = ["Trouble", "restore"]

_SECONDS = 120
_UNIT_PLACES = ("/etc/systemd/system/", "/usr/local/lib/systemd/system/")


class Trouble(Exception):
    """What could not be put back, in the words of the program that refused."""


def restore(entries: Sequence[Entry]) -> None:
    """Make everything as it was found: what runs ends first, accounts go last. Raises ``Trouble``."""
    now = items.read([entry.item for entry in entries])

    def each(kind: str) -> list[tuple[Entry, Any]]:
        return [(entry, now[entry.item]) for entry in entries if entry.kind == kind]

    for entry, live in each("unit"):
        _end_unit(entry, live)
    for entry, live in each("nft_table"):
        _table(entry, live)
    touched = [entry.name for entry, live in each("file") if _file(entry, live)]
    if any(name.startswith(_UNIT_PLACES) for name in touched):
        _do(["systemctl", "daemon-reload"])
    for entry, _ in each("unit"):
        _begin_unit(entry, files_changed=bool(touched))
    for entry, live in each("sysctl"):
        _setting(entry, live)
    packages.remove([entry.name for entry, _ in each("package") if entry.state is None], _do)
    for entry, live in each("tree"):
        _tree(entry, live)
    # The deepest first: what they hold is gone, or is somebody's.
    for entry, live in sorted(each("directory"), key=lambda one: one[0].name, reverse=True):
        _directory(entry, live)
    _accounts([entry for kind in ("user", "group") for entry, _ in each(kind)])


def _do(argv: Sequence[str], given: bytes = b"", seconds: float = _SECONDS) -> str:
    done = subprocess.run(
        argv,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
        timeout=seconds,
        check=False,
    )
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        last = said.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        message = f"{' '.join(argv)}: {last[0]}"
        raise Trouble(message)
    return said


def _end_unit(entry: Entry, now: Any) -> None:
    """Stop and disable what was not found running and enabled, while its unit is still there to say how."""
    if now is None:
        return
    before = entry.state or {"enabled": "", "active": False}
    if before["active"] is False and now["active"] is not False:
        _do(["systemctl", "stop", "--", entry.name])
    if not str(before["enabled"]).startswith("enabled") and str(now["enabled"]).startswith("enabled"):
        _do(["systemctl", "disable", "--quiet", "--", entry.name])
    if entry.state is None:
        # One that failed would be remembered after its unit is gone.
        with contextlib.suppress(Trouble):
            _do(["systemctl", "reset-failed", "--", entry.name])


def _begin_unit(entry: Entry, *, files_changed: bool) -> None:
    now = services.units([entry.name])[entry.name]
    if entry.state is None or now is None:
        return
    if entry.state["enabled"] != now["enabled"]:
        verb = {"enabled": "enable", "masked": "mask", "disabled": "unmask"}.get(entry.state["enabled"])
        if verb:
            _do(["systemctl", verb, "--quiet", "--", entry.name])
    if entry.state["active"] and not now["active"]:
        _do(["systemctl", "start", "--", entry.name])
    elif entry.state["active"] and files_changed:
        # It reads again what was put back.
        _do(["systemctl", "try-reload-or-restart", "--", entry.name])


def _table(entry: Entry, now: Any) -> None:
    """Nobody else's table is touched, and between the old and the new there is no moment without one."""
    if now == entry.state:
        return
    orders = f"add table {entry.name}\ndelete table {entry.name}\n".encode()
    _do(["nft", "--file", "-"], orders + (entry.content if entry.state else b""))


def _file(entry: Entry, now: Any) -> bool:
    """Whether anything had to be done."""
    path, before = Path(entry.name), entry.state
    if not items.difference(entry.item, before, now):
        return False
    if before is not None and "other" in before:
        return False
    if before is not None and "sha256" in before:
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write(path, entry.content, int(before["mode"], 8), _owner(before))
        return True
    if now is not None:
        path.unlink()
    if before is not None:
        path.symlink_to(before["link"])
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        disk.sync(path.parent)
    return True


def _owner(state: dict[str, str]) -> tuple[int, int]:
    """As it was; root, where whoever owned it is gone."""
    try:
        user = pwd.getpwnam(state["owner"]).pw_uid
    except KeyError:
        user = int(state["owner"]) if state["owner"].isdigit() else 0
    try:
        group = grp.getgrnam(state["group"]).gr_gid
    except KeyError:
        group = int(state["group"]) if state["group"].isdigit() else 0
    return user, group


def _setting(entry: Entry, now: Any) -> None:
    if entry.state is None or now is None or entry.state == now:
        return
    # A kernel that lets it be set one way only keeps it until the next boot.
    with contextlib.suppress(OSError):
        Path("/proc/sys", entry.name.replace(".", "/")).write_text(entry.state["value"], encoding="ascii")


def _tree(entry: Entry, now: Any) -> None:
    if entry.state is not None or now is None:
        return
    if "mode" in now:
        shutil.rmtree(entry.name)
    else:
        # Somebody put something else there: a link is not followed.
        Path(entry.name).unlink()


def _accounts(entries: Sequence[Entry]) -> None:
    """Users before groups: a user's own group goes with them."""
    for entry in entries:
        if entry.state is None and items.read([entry.item])[entry.item] is not None:
            _do(["userdel" if entry.kind == "user" else "groupdel", entry.name])


def _directory(entry: Entry, now: Any) -> None:
    path, before = Path(entry.name), entry.state
    if now is None or "mode" not in now or now == before:
        return
    if before is None:
        # What somebody put into it is theirs.
        with contextlib.suppress(OSError):
            path.rmdir()
    elif "mode" in before:
        os.chown(path, *_owner(before))
        path.chmod(int(before["mode"], 8))
