"""Sockets to one API server: directly or through a proxy, with TLS where it speaks TLS. Used by ``connection``; asks nothing."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from urllib.parse import SplitResult, unquote, urlsplit

from paictl.drivers.kubernetes.credentials import Credentials
from paictl.drivers.kubernetes.kubeconfig import Cluster
from paictl.drivers.kubernetes.proxies import proxy_for
from paictl.errors import Unreachable

__all__ = ["Dialler"]

_CONNECT_SECONDS = 10.0
_HEAD_LIMIT = 64 * 1024


class Dialler:
    """Opens connections to the cluster's API server; every thread may."""

    def __init__(self, cluster: Cluster, credentials: Credentials) -> None:
        self.cluster = cluster
        self._credentials = credentials
        self._lock = threading.Lock()
        self._parts = urlsplit(cluster.server)
        if self._parts.scheme not in {"http", "https"} or not self._parts.hostname:
            raise Unreachable(
                f"the server of {cluster.context} is {cluster.server!r}, which is no address",
                help="`kubectl config view` shows what is configured.",
            )
        self._proxy = _known(cluster, cluster.proxy or proxy_for(self._parts))
        self._tls: ssl.SSLContext | None = None
        self._generation = 0

    @property
    def host(self) -> str:
        """What a request names as its host."""
        return self._parts.netloc

    @property
    def prefix(self) -> str:
        """What every path begins with: some servers stand behind another's (Rancher)."""
        return self._parts.path.rstrip("/")

    def open(self, seconds: float) -> socket.socket:
        """A new connection whose reads and writes wait for so long; raises ``OSError``."""
        host, port = str(self._parts.hostname), self._parts.port or (443 if self._parts.scheme == "https" else 80)
        proxy = self._proxy
        place = (str(proxy.hostname), proxy.port or 80) if proxy else (host, port)
        stream = socket.create_connection(place, _CONNECT_SECONDS)
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if proxy:
                _through(stream, proxy, host, port)
            if self._parts.scheme == "https":
                stream = self._trusting().wrap_socket(stream, server_hostname=self.cluster.server_name or host)
            stream.settimeout(seconds)
        except BaseException:
            stream.close()
            raise
        return stream

    def _trusting(self) -> ssl.SSLContext:
        """Made anew when the user's certificate is another one: a plugin's lasts for minutes."""
        with self._lock:
            if self._tls is None or self._generation != self._credentials.generation:
                self._tls = self._credentials.trusting()
                self._generation = self._credentials.generation
            return self._tls


def _known(cluster: Cluster, proxy: str) -> SplitResult | None:
    """The proxy, where there is one; raises ``Unreachable`` for a kind that is not spoken here."""
    if not proxy:
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise Unreachable(
            f"the way to {cluster.context} leads through {parts.scheme}://{parts.hostname or ''}, a kind of proxy that paictl "
            "does not speak",
            help="Name one of the kind http: `proxy-url` of the kubeconfig, HTTPS_PROXY. What goes through it is encrypted all the same.",
        )
    return parts


def _through(stream: socket.socket, proxy: SplitResult, host: str, port: int) -> None:
    named = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    head = f"CONNECT {named} HTTP/1.1\r\nHost: {named}\r\n"
    if proxy.username:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        head += f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode('ascii')}\r\n"
    stream.sendall(f"{head}\r\n".encode("ascii"))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        # One byte at a time: what follows belongs to TLS.
        piece = stream.recv(1)
        if not piece or len(answer) > _HEAD_LIMIT:
            raise ConnectionError("the proxy closed the connection")
        answer += piece
    status = answer.split(None, 2)[1]
    if status != b"200":
        raise ConnectionError(f"the proxy {proxy.hostname} answered {status.decode('latin-1')}")
