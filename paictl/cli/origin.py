"""Which manifest this is, told apart from others of the same name: by its path, and by the git repository it is kept in."""

from __future__ import annotations

import re
import socket
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from paictl.engine.ownership import Source
from paictl.manifest.models import Updates

__all__ = ["source_of"]

_ORIGIN = re.compile(r'^\[remote "origin"\]\s*\n(?:[ \t]+.*\n)*?[ \t]+url[ \t]*=[ \t]*(\S+)', re.MULTILINE)
_SCP = re.compile(r"(?:[^@/]+@)?([^:/]+):(?!//)(.+)")


def source_of(file: str, updates: Updates | None = None) -> Source | None:
    """The manifest of this name; None for standard input. With ``updates`` it says itself in which repository it is kept."""
    if file == "-":
        return None
    path = Path(file).resolve()
    if updates is not None:
        return Source(
            str(path), socket.gethostname(), f"{_named(updates.git)}#{PurePosixPath(updates.path, path.name)}"
        )
    return Source(str(path), socket.gethostname(), _repository(path))


def _repository(path: Path) -> str:
    """``github.com/alice/agents#home/agent.yaml``, the same in every clone; empty where there is no remote ``origin``."""
    for folder in path.parents:
        entry = folder / ".git"
        if entry.exists():
            url = _origin(entry)
            return f"{url}#{path.relative_to(folder).as_posix()}" if url else ""
    return ""


def _origin(entry: Path) -> str:
    """The remote's place without what may be a credential in it."""
    try:
        if (
            entry.is_file()
        ):  # a worktree or a submodule: it points to its directory, and a worktree's to the repository's
            entry = (entry.parent / entry.read_text(encoding="utf-8").removeprefix("gitdir:").strip()).resolve()
            common = entry / "commondir"
            entry = entry / common.read_text(encoding="utf-8").strip() if common.is_file() else entry
        found = _ORIGIN.search((entry / "config").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
    return _named(found[1]) if found else ""


def _named(url: str) -> str:
    """``github.com/alice/agents``, however it is reached."""
    scp = _SCP.fullmatch(url)
    parts = urlsplit(url)
    host, path = (scp[1], scp[2]) if scp and not parts.netloc else (parts.hostname or "", parts.path)
    return f"{host}/{path.strip('/')}".removesuffix(".git").strip("/")
