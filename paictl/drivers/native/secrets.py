"""The kind ``secret``: one file a secret on tmpfs, 0400. What paictl generated has its original among the agent's data."""

from __future__ import annotations

import base64
import contextlib
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path

from paictl import places
from paictl.drivers.native.disk import private_directory, remove_tree, write
from paictl.drivers.native.kind import Act, Here, Seen
from paictl.drivers.native.layout import Layout
from paictl.drivers.native.records import Record
from paictl.errors import Refused

__all__ = ["Secrets"]

_BYTES = 32
_ONE_AT_A_TIME = threading.Lock()


class Secrets:
    """A secret as its services read it. Values are never told; a change by hand shows as the fingerprint ``altered``."""

    def observe(self, here: Here, record: Record) -> Seen | None:
        path = here.layout.root / str(record.spec["path"])
        if not path.is_file():
            return None
        if record.spec.get("generated"):
            original = here.layout.keys / record.address.name
            same = original.is_file() and original.read_bytes() == path.read_bytes()
        else:
            same = record.note.get("stamp") == _stamp(path)
        return Seen(record.spec if same else {**record.spec, "fingerprint": "altered"})

    def make(self, act: Act) -> Mapping[str, object] | None:
        path = act.layout.root / act.text("path")
        value = (
            _generated(act.layout, act.step.address.name)
            if act.spec["generated"]
            else act.secrets(act.step.address.name)
        )
        _tmpfs(act.layout)
        if not path.is_file() or path.read_bytes() != value:
            write(path, value, mode=0o400)
        return {"stamp": _stamp(path)}

    def remove(self, act: Act) -> None:
        path = act.layout.root / act.text("path")
        path.unlink(missing_ok=True)
        for folder in (act.layout.volatile / "secrets", act.layout.volatile):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _generated(layout: Layout, name: str) -> bytes:
    """The original, made once. What still stands on tmpfs is believed when somebody lost the original."""
    original, copy = layout.keys / name, layout.secrets / name
    if not original.is_file():
        value = (
            copy.read_bytes() if copy.is_file() else base64.urlsafe_b64encode(secrets.token_bytes(_BYTES)).rstrip(b"=")
        )
        write(original, value)
    return original.read_bytes()


def _tmpfs(layout: Layout) -> None:
    """The directory behind the link; a new place for it when the old one can't be had any more (another login, a reboot)."""
    # Steps run side by side, and they share the directory.
    with _ONE_AT_A_TIME:
        try:
            _make_private(layout.secrets.readlink())
        except (FileNotFoundError, PermissionError) as error:
            folder = places.runtime_home() / layout.mark / "secrets"
            if layout.secrets.is_symlink() and folder == layout.secrets.readlink():
                raise Refused(
                    f"{folder} can't be made: {error.strerror}",
                    help="Secrets are kept in memory only; see XDG_RUNTIME_DIR.",
                ) from error
            remove_tree(layout.secrets)
            layout.secrets.symlink_to(folder)
            _make_private(folder)


def _make_private(folder: Path) -> None:
    """The agent's directory of secrets with the two above it: ours, and the agent's."""
    for one in (folder.parent.parent, folder.parent, folder):
        private_directory(one)


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
