"""The kind ``unit``: a systemd user unit that starts the agent with the machine. Where there is no user manager, it says what to do."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from paictl import places
from paictl.drivers.native.disk import write
from paictl.drivers.native.kind import Act, Here, Seen
from paictl.drivers.native.records import Record
from paictl.render.native import UNIT_MARK

__all__ = ["Units", "foreign", "unit_path"]

_WANTED_BY = "default.target.wants"
_SECONDS = 15


class Units:
    """The unit file and its enabling, which is a link beside it (systemd.unit(5)) and needs no running manager."""

    def observe(self, here: Here, record: Record) -> Seen | None:
        path = unit_path(here.layout.agent)
        if not path.is_file():
            return None
        content = path.read_text(encoding="utf-8", errors="replace")
        return Seen({**record.spec, "content": content, "enabled": _link(path).is_symlink()})

    def make(self, act: Act) -> Mapping[str, object] | None:
        path = unit_path(act.layout.agent)
        write(path, act.text("content").encode(), mode=0o644)
        link = _link(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path)
        if not _reload():
            act.say(
                "warning",
                code="no-user-manager",
                text=f"no systemd user manager runs here; {path} takes effect with one",
            )
        if not _lingers():
            command = f"loginctl enable-linger {getpass.getuser()}"
            act.say(
                "warning",
                code="no-linger",
                text=f"user services start at login, not with the machine, until: {command}",
            )
        return None

    def remove(self, act: Act) -> None:
        path = unit_path(act.layout.agent)
        _link(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        _reload()


def unit_path(agent: str) -> Path:
    """Where systemd looks for this user's units (systemd.unit(5))."""
    return places.config_home().parent / "systemd" / "user" / f"paictl-{agent}.service"


def foreign(agent: str) -> bool:
    """Whether a unit of that name stands there that paictl did not write."""
    path = unit_path(agent)
    return path.is_file() and UNIT_MARK not in path.read_text(encoding="utf-8", errors="replace")


def _link(path: Path) -> Path:
    return path.parent / _WANTED_BY / path.name


def _reload() -> bool:
    """Have the user's manager read its files again; False when there is none to ask."""
    if shutil.which("systemctl") is None:
        return False
    command = ["systemctl", "--user", "daemon-reload"]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _lingers() -> bool:
    return Path("/var/lib/systemd/linger", getpass.getuser()).exists()
