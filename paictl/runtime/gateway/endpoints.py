"""Addresses in a configuration (``unix:``, ``tcp:``, ``http(s)://``) as sockets to listen on and clients to call with."""

from __future__ import annotations

import socket
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

import httpx

from paictl.hosts import bracketed
from paictl.runtime.gateway.egress import PinnedTransport

__all__ = ["TcpAddress", "UnixAddress", "connect", "listen", "parse"]

_BACKLOG = 256
# Shorter than model servers keep an idle connection (cpp-httplib and uvicorn: 5 s), so that none is used while it is closed.
_IDLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket in the file system, relative to the root."""

    path: str


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host (an IP literal or a name) and a port."""

    host: str
    port: int


def parse(endpoint: str) -> UnixAddress | TcpAddress:
    """Read ``unix:PATH`` or ``tcp:HOST:PORT``; raises ``ValueError`` for anything else."""
    kind, _, rest = endpoint.partition(":")
    if kind == "unix" and rest:
        return UnixAddress(rest)
    host, _, port = rest.rpartition(":")
    if kind == "tcp" and host and port.isdigit():
        return TcpAddress(host.strip("[]"), int(port))
    raise ValueError(f"not an address to listen on: {endpoint!r}; expected unix:PATH or tcp:HOST:PORT")


def listen(endpoint: str) -> socket.socket:
    """A listening socket; raises ``OSError`` when the address is taken."""
    address = parse(endpoint)
    if isinstance(address, TcpAddress):
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    path = Path(address.path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A socket left by a killed gateway; the supervisor sees to it that no living one has this root.
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(address.path)
    path.chmod(0o600)
    sock.listen(_BACKLOG)
    return sock


def connect(endpoint: str, *, trusted: bool, timeout: httpx.Timeout) -> httpx.AsyncClient:
    """A client whose paths begin behind ``/v1``. Redirects are not followed, the environment's proxies not used.

    An endpoint that is not ``trusted`` (not on this target) may not resolve to a private address.
    """
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=8, keepalive_expiry=_IDLE_SECONDS)
    if endpoint.startswith(("http://", "https://")):
        base = endpoint.rstrip("/")
        context: ssl.SSLContext | bool = True if endpoint.startswith("https://") else _no_tls()
        transport: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(verify=context, limits=limits)
        if not trusted:
            transport = PinnedTransport(transport)
    else:
        address = parse(endpoint)
        uds = address.path if isinstance(address, UnixAddress) else None
        base = (
            "http://localhost/v1"
            if isinstance(address, UnixAddress)
            else f"http://{bracketed(address.host)}:{address.port}/v1"
        )
        transport = httpx.AsyncHTTPTransport(uds=uds, verify=_no_tls(), limits=limits)
    return httpx.AsyncClient(
        base_url=base + "/", transport=transport, timeout=timeout, trust_env=False, follow_redirects=False
    )


def _no_tls() -> ssl.SSLContext:
    # Plain HTTP needs no certificates; loading the bundle costs 20 ms and megabytes for nothing.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
