"""The directory of one run of Ansible: in memory, this user's alone, with all that is read in it. Goes with the run, however it ends.

Made by ``running``; ``playbook`` plays in it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paictl.assets import asset
from paictl.drivers.ansible.hosts import Hosts, private
from paictl.drivers.ansible.inventory import configuration, inventory

__all__ = ["furnish", "playroom"]

_HERE = Path(__file__).parent
# How long something that is ending may go on putting files there.
_END_SECONDS = 5.0


@contextmanager
def playroom() -> Iterator[Path]:
    """A directory in memory for one run. Those that a killed paictl left are removed first."""
    folder = private("plays")
    for left in folder.iterdir():
        if not Path(f"/proc/{left.name.partition('-')[0]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    room = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=folder))
    try:
        yield room
    finally:
        _remove(room)


def _remove(room: Path) -> None:
    """Also when something that is about to end puts a last file there meanwhile."""
    given_up = time.monotonic() + _END_SECONDS
    while room.exists() and time.monotonic() < given_up:
        shutil.rmtree(room, ignore_errors=True)


def furnish(
    room: Path,
    hosts: Hosts,
    names: Sequence[str],
    plays: Sequence[Mapping[str, Any]],
    files: Mapping[str, str | bytes | Path],
) -> None:
    """Put there what Ansible is to read: its settings, the inventory of these hosts, the playbook, and files by their places."""
    project, scratch = room / "project", room / "scratch"
    for folder in (project, scratch):
        folder.mkdir(mode=0o700)
    for place, content in files.items():
        path = project / place
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if isinstance(content, Path):
            path.symlink_to(content)
        else:
            _put(path, content if isinstance(content, bytes) else content.encode())
    paths = {
        "roles_path": [project / "roles", asset("roles")],
        "action_plugins": [_HERE / "action"],
        "library": [_HERE / "library"],
        "module_utils": [_HERE / "onhost"],
    }
    _put(project / "ansible.cfg", configuration(len(names), scratch, paths).encode())
    # JSON is YAML: what stands in the plays' texts is quoted once and well.
    _put(project / "playbook.yaml", json.dumps(list(plays), ensure_ascii=False).encode())
    _put(room / "hosts.yaml", inventory(hosts, names).encode())


def _put(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
