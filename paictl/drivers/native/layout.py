"""Where one agent lives on this machine: every path the native driver touches, derived from the agent's name. Creates nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from paictl import places
from paictl.render import native

__all__ = ["Layout"]


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
        return native.mark(self.root)

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
        """The supervisor's."""
        return native.socket(self.root)

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
        """The clone of the runtime with that digest."""
        return native.venv(self.root, digest)

    def paths(self, digest: str) -> native.Paths:
        """What rendered files have to know."""
        return native.paths(self.root, digest)
