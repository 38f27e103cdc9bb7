"""How a Postgres is reached: its address, its password, one connection. Called by whoever keeps something in one.

psycopg is imported here when a connection is made, and not before: a gateway over files never loads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from paictl.runtime.gateway import egress, endpoints

if TYPE_CHECKING:
    import psycopg

__all__ = ["PgServer", "line"]

_CONNECT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class PgServer:
    """One Postgres. ``key`` is its place in the manifest, for messages.

    Raises ``ValueError`` when ``endpoint`` is not the address of one.
    """

    endpoint: str
    managed: bool
    secret: str | None
    hosts: Sequence[str]
    key: str

    def __post_init__(self) -> None:
        _ = self.where

    @property
    def where(self) -> str:
        """``HOST:PORT``, for messages and for the rule that binds the secret to its hosts."""
        if self.endpoint.startswith("tcp:"):
            endpoints.parse(self.endpoint)
            return self.endpoint.removeprefix("tcp:")
        parts = urlsplit(self.endpoint)
        if parts.scheme not in {"postgresql", "postgres"} or not parts.hostname:
            raise ValueError(f"{self.key}.url is not the address of a Postgres: postgresql://USER@HOST:PORT/DATABASE")
        if parts.password is not None:
            raise ValueError(f"{self.key}.url holds a password; name it as a secret instead: {self.key}.secret")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{host}:{parts.port or 5432}"

    @property
    def address(self) -> dict[str, Any]:
        """What libpq is told of it."""
        if not self.endpoint.startswith("tcp:"):
            return {"conninfo": self.endpoint}
        host, _, port = self.where.rpartition(":")
        return {"host": host.strip("[]"), "port": port, "user": "paictl", "dbname": "paictl"}

    def password(self) -> str | None:
        """The secret, read anew for each connection; raises ``ApiError`` when it may not be sent there."""
        if self.secret is None:
            return None
        # The address of one of ours was written by paictl, by name or by number; nobody else chose it.
        own = [urlsplit(f"//{self.where}").hostname or ""] if self.managed else []
        return egress.credential(self.secret, f"postgresql://{self.where}", [*self.hosts, *own]).decode("ascii")

    async def connect(self, name: str, *, autocommit: bool = False, **other: Any) -> psycopg.AsyncConnection[Any]:
        """One connection, shown as ``name`` to the server; ``other`` replaces the user and its password."""
        import psycopg

        return await psycopg.AsyncConnection.connect(
            **{**self.address, "password": self.password(), "application_name": name, **other},
            autocommit=autocommit,
            connect_timeout=_CONNECT_SECONDS,
            # Also a server that is cut off in silence is noticed.
            tcp_user_timeout=10_000,
        )


def line(error: Exception) -> str:
    """What the server or libpq said, in one line, without the address that is told anyway. Neither repeats a password."""
    lines = [text for text in str(error).strip().splitlines() if text.strip() and not text.startswith("\t")]
    last = lines[-1] if lines else type(error).__name__
    return " ".join(last.rpartition(" failed: ")[2].removeprefix("FATAL: ").split())
