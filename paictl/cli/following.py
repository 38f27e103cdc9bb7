"""Whether root's timer may run this very paictl on this very manifest. Asked by ``session`` before anything is planned.

What root runs by itself must be root's: whoever can write to a file of it, or to a folder above it, would be root.
"""

from __future__ import annotations

import os
import site
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from paictl.errors import Refused

if TYPE_CHECKING:
    from paictl.manifest.load import Manifest

__all__ = ["program", "refuse_unsafe", "strangers"]

_DEFAULT = "agent.yaml"


def program() -> tuple[str, ...]:
    """How this very paictl is started by somebody else, from any folder: isolated from that folder and the environment."""
    return (sys.executable, "-I", "-m", "paictl")


def refuse_unsafe(manifest: Manifest, files: tuple[str, ...]) -> None:
    """Raise ``Refused`` where a timer would not apply what was typed, or would hand root to somebody."""
    if len(files) > 1 or Path(files[0]).name != _DEFAULT:
        raise Refused(
            f"{manifest.target} follows a repository, where {_DEFAULT} alone is applied, and not {' with '.join(files)}",
            help="Put what the other files say into it (`include`, `overlays`), or take updates out.",
        )
    found = next(strangers(_run()), None)
    if found is not None:
        place, why = found
        raise Refused(
            f"root's timer would run this paictl, but {why} may write to {place}",
            help="Install paictl as root where only root writes, such as a venv in /opt, and apply with that one; or take updates out.",
        )


def _run() -> Iterator[Path]:
    """What Python runs for ``program``: the interpreter, paictl itself, and whatever stands on the search path.

    Below the first level of that, folders belong to whoever installed them: looking at each of a hundred thousand files takes long.
    """
    yield Path(sys.executable)
    yield Path(sys.prefix)
    own = Path(__file__).parents[1]
    for folder, folders, names in os.walk(own):
        yield from (Path(folder, name) for name in (*folders, *names))
    # Isolated, it looks into neither of these.
    left_out = {*os.environ.get("PYTHONPATH", "").split(os.pathsep), site.getusersitepackages()}
    for place in (Path(one) for one in sys.path if one and one not in left_out):
        if place.exists():
            yield place
            yield from place.iterdir() if place.is_dir() else ()


def strangers(places: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Each of these, of the folders above and of what links lead to, that somebody but root may write; and who that is."""
    seen: set[Path] = set()
    waiting = (above for place in places for above in (place, *place.parents))
    for place in waiting:
        yield from _judged(place, seen)


def _judged(place: Path, seen: set[Path]) -> Iterator[tuple[Path, str]]:
    if place in seen:
        return
    seen.add(place)
    try:
        found = place.lstat()
    except FileNotFoundError:
        return
    if found.st_uid != 0:
        yield place, f"user {_name(found.st_uid)}"
    elif stat.S_ISLNK(found.st_mode):
        # A link itself is as safe as its folder; where it leads has folders of its own.
        there = place.parent / place.readlink()
        for one in (there, *there.parents):
            yield from _judged(one, seen)
    elif found.st_mode & 0o022:
        yield place, "everybody" if found.st_mode & 0o002 else f"group {found.st_gid}"


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
