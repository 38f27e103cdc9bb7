"""Where one agent lives on this machine: every path the native driver touches, derived from the agent's name. Creates nothing."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from paictl import places
from paictl.render.native import Paths

__all__ = ["Layout"]

# unix(7): sun_path holds 108 bytes with the final NUL; supervisord binds a temporary name ten characters longer first.
_SOCKET_BYTES = 107 - 12


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of one agent. ``root`` is private to its user and holds everything but the secrets."""

    agent: str
    root: Path

    @classmethod
    def of(cls, agent: str) -> Layout:
        """The agent's places for this user, by the XDG directories."""
        return cls(agent, places.data_home() / agent)

    @property
    def mark(self) -> str:
        """In the environment of every process of this agent: tells ours from others', and this agent's from another's."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:16]

    @property
    def owner(self) -> Path:
        """Says whose root this is."""
        return self.root / "paictl.json"

    @property
    def lock(self) -> Path:
        """Beside the root, which may not exist yet."""
        return self.root.with_name(f"{self.agent}.lock")

    @property
    def inventory(self) -> Path:
        return self.root / "inventory.json"

    @property
    def secrets(self) -> Path:
        """A link to the directory on tmpfs."""
        return self.root / "secrets"

    @property
    def keys(self) -> Path:
        """The originals of the generated secrets."""
        return self.root / "keys"

    @property
    def volatile(self) -> Path:
        """On tmpfs. The link decides, so that a run from cron finds what a run from the desktop made."""
        try:
            return self.secrets.readlink().parent
        except OSError:
            return places.runtime_home() / self.mark

    @property
    def socket(self) -> Path:
        """The supervisor's. On disk, since logging out may empty tmpfs; elsewhere only where the path would be too long."""
        path = self.root / "run" / "supervisor" / "supervisor.sock"
        if len(os.fsencode(path)) <= _SOCKET_BYTES:
            return path
        return Path(f"/dev/shm/paictl-{os.getuid()}") / self.mark / "supervisor.sock"  # noqa: S108 - made 0700, and checked

    @property
    def supervisor_config(self) -> Path:
        return self.root / "supervisor" / "supervisord.conf"

    def service_config(self, service: str) -> Path:
        return self.root / "supervisor" / "services" / f"{service}.conf"

    def room(self, service: str) -> Path:
        return self.root / "supervisor" / "rooms" / f"{service}.json"

    def log(self, service: str) -> Path:
        return self.root / "logs" / f"{service}.log"

    def starts(self, service: str) -> Path:
        """The times at which it was started lately; written by ``paictl.runtime.boot``."""
        return self.root / "run" / "supervisor" / f"{service}.starts"

    def venv(self, digest: str) -> Path:
        """By digest, so that a new runtime can stand beside the one that running services were started from."""
        return self.root / "venv" / digest[:16]

    def paths(self, digest: str) -> Paths:
        """What rendered files have to know."""
        return Paths(
            root=str(self.root),
            python=str(self.venv(digest) / "bin" / "python"),
            socket=str(self.socket),
            mark=self.mark,
        )
