"""Pieces of a host by name, and how each is now: what roles say they manage, read back. Used by keeping and by looking; changes nothing.

An item is written ``KIND:NAME``, such as ``file:/etc/ssh/sshd_config.d/50-paictl.conf``. Its state is JSON; None: not there.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import services

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["State", "all_gone", "difference", "label", "named", "read"]

State = Any

# The words of a role's ``*_manages``, and what one of each is called here.
_WORDS = {
    "files": "file",
    "directories": "directory",
    "trees": "tree",
    "packages": "package",
    "units": "unit",
    "sysctl": "sysctl",
    "nft_tables": "nft_table",
    "users": "user",
    "groups": "group",
}
_STAMP = "stamp"
_HASHED_AT_ONCE = 1 << 20


def named(manages: Mapping[str, Iterable[str]]) -> list[str]:
    """Every item of a role's mapping, sorted. Raises ``KeyError`` for a word that nobody knows."""
    return sorted({f"{_WORDS[word]}:{name}" for word, names in manages.items() for name in names})


def label(item: str) -> str:
    """An item as people read it: paths and units as they are, the others with what they are."""
    kind, _, name = item.partition(":")
    if kind in ("file", "directory", "tree", "unit", "sysctl"):
        return name
    return f"{kind.replace('nft_', '')} {name}"


def read(items: Iterable[str], known: Mapping[str, State] | None = None) -> dict[str, State]:
    """The state of each. ``known`` are earlier states: a large file that nobody touched since is not read again."""
    groups: dict[str, list[str]] = {}
    for item in items:
        kind, _, name = item.partition(":")
        groups.setdefault(kind, []).append(name)
    found: dict[str, State] = {}
    for kind, names in groups.items():
        states = _files(names, known or {}) if kind == "file" else _READERS[kind](names)
        found.update({f"{kind}:{name}": state for name, state in states.items()})
    return found


def difference(item: str, before: State, now: State) -> str:
    """What is not as it was, in a word or two; empty when it is."""
    kind = item.partition(":")[0]
    if before == now or before is None:
        return "" if before == now else _appeared(kind)
    if now is None:
        return "not installed" if kind == "package" else "gone"
    told = [words for key, words in _DIFFERENCES if key in before and before[key] != now.get(key)]
    if kind == "unit":
        told = services.difference(before, now)
    return ", ".join(told) if told or kind in ("unit", "file") else "changed by hand"


def all_gone(states: Mapping[str, State]) -> bool:
    """Whether nothing is left of what was made: no file, no directory, no unit."""
    lasting = [state for item, state in states.items() if item.partition(":")[0] in ("file", "tree", "unit")]
    return bool(lasting) and not any(lasting)


# The first that differs in a state tells it; who owns a file matters as much as what it says.
_DIFFERENCES = (
    ("sha256", "changed by hand"),
    ("link", "points elsewhere"),
    ("other", "replaced by something else"),
    ("mode", "permissions changed"),
    ("owner", "owner changed"),
    ("group", "group changed"),
)


def _appeared(kind: str) -> str:
    return "installed" if kind == "package" else "there again"


def _files(names: Iterable[str], known: Mapping[str, State]) -> dict[str, State]:
    return {name: _file(Path(name), known.get(f"file:{name}")) for name in names}


def _file(path: Path, known: State) -> State:
    status = _lstat(path)
    if status is None:
        return None
    if stat.S_ISLNK(status.st_mode):
        return {"link": str(path.readlink())}
    if not stat.S_ISREG(status.st_mode):
        return {"other": stat.filemode(status.st_mode)[0], **_owned(status)}
    stamp = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    if isinstance(known, dict) and known.get(_STAMP) == stamp:
        return known
    return {"sha256": _hash(path), **_owned(status), _STAMP: stamp}


def _directory(path: Path) -> State:
    status = _lstat(path)
    if status is None:
        return None
    if stat.S_ISLNK(status.st_mode):
        return {"link": str(path.readlink())}
    if not stat.S_ISDIR(status.st_mode):
        return {"other": stat.filemode(status.st_mode)[0]}
    return _owned(status)


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _owned(status: os.stat_result) -> dict[str, str]:
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = str(status.st_uid)
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return {"mode": f"{stat.S_IMODE(status.st_mode):04o}", "owner": owner, "group": group}


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASHED_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


def _directories(names: Iterable[str]) -> dict[str, State]:
    return {name: _directory(Path(name)) for name in names}


def _settings(names: Iterable[str]) -> dict[str, State]:
    """Kernel settings as they are in force, whatever the files say."""
    found: dict[str, State] = {}
    for name in names:
        try:
            text = Path("/proc/sys", name.replace(".", "/")).read_text(encoding="ascii")
            found[name] = {"value": " ".join(text.split())}
        except OSError:
            found[name] = None
    return found


def _users(names: Iterable[str]) -> dict[str, State]:
    return {name: _user(name) for name in names}


def _user(name: str) -> State:
    try:
        one = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = sorted(group.gr_name for group in grp.getgrall() if name in group.gr_mem)
    return {"home": one.pw_dir, "shell": one.pw_shell, "groups": groups}


def _groups(names: Iterable[str]) -> dict[str, State]:
    return {name: _group(name) for name in names}


def _group(name: str) -> State:
    try:
        grp.getgrnam(name)
    except KeyError:
        return None
    return {}


_READERS: dict[str, Callable[[Iterable[str]], dict[str, State]]] = {
    "directory": _directories,
    "tree": _directories,
    "package": services.packages,
    "unit": services.units,
    "sysctl": _settings,
    "nft_table": services.tables,
    "user": _users,
    "group": _groups,
}
