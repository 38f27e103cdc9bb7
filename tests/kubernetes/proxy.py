"""A proxy before a cluster's API server: it counts what is asked, and fails in the ways that servers and networks fail.

Used by tests of faults and of costs. It asks as the user of the kubeconfig that it stands for, whoever asks it.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.kubernetes.access import Access, kubeconfig

__all__ = ["CUT", "LOST", "Fault", "Proxy", "every", "proxied"]

_REASONS = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}
_HANDED_ON = ("Accept", "Content-Type")


@dataclass(frozen=True)
class Fault:
    """An answer of the proxy's own; without a status the connection ends instead, before or after the server has done it."""

    status: int = 0
    after: str = ""
    done: bool = False


CUT, LOST = Fault(), Fault(done=True)
"""The request never arrives; it is carried out, and its answer is lost."""


@dataclass
class Proxy:
    """``fault`` says what becomes of the request with this number, verb and kind; None: it is handed on."""

    access: Access
    url: str = ""
    fault: Callable[[int, str, str], Fault | None] = lambda _number, _verb, _kind: None
    asked: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def counted(self) -> Counter[tuple[str, str]]:
        """How many requests of each verb and kind there were, tried again or not."""
        return Counter(self.asked)

    def decide(self, verb: str, path: str) -> Fault | None:
        with self.lock:
            kind = _kind(path)
            self.asked.append((verb, kind))
            return self.fault(len(self.asked), verb, kind)


def _kind(path: str) -> str:
    """The plural of what is asked for: ``configmaps``, ``version``."""
    parts = urlsplit(path).path.strip("/").split("/")
    if "namespaces" in parts[:-2]:
        return parts[parts.index("namespaces") + 2]
    return "namespaces" if "namespaces" in parts else parts[-1]


@contextmanager
def proxied(access: Access, directory: Path) -> Iterator[Proxy]:
    """One for as long as the block runs; its ``access`` is the kubeconfig that leads to it."""
    proxy = Proxy(access)
    with access.client() as server:
        listener = _Server(("127.0.0.1", 0), _handler(proxy, server))
        proxy.url = f"http://127.0.0.1:{listener.server_port}"
        path = directory / "proxied.kubeconfig"
        kubeconfig(path, proxy.url, "", "whoever")
        proxy.access = Access(path)
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown()
            thread.join()
            listener.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has gone; they know."""


def _handler(proxy: Proxy, server: httpx.Client) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = proxy.decide(self.command, self.path)
            if fault is not None and fault.status:
                self._answer(fault.status, _status(fault.status), {"Retry-After": fault.after} if fault.after else {})
                return
            if fault is None or fault.done:
                headers = {name: self.headers[name] for name in _HANDED_ON if name in self.headers}
                try:
                    told = server.request(self.command, self.path, content=content, headers=headers)
                except httpx.TransportError:
                    fault = CUT
                else:
                    kept = {"Content-Type": told.headers.get("Content-Type", "application/json")}
                    if fault is None:
                        self._answer(told.status_code, told.content, kept)
                        return
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the server's own names

        def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing: tests look at ``asked``."""

    return Handler


def _status(code: int) -> bytes:
    told = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "a fault of the test's", "code": code}
    return json.dumps({**told, "reason": _REASONS.get(code, "")}).encode()


def every(distance: int, faults: Sequence[Fault]) -> Callable[[int, str, str], Fault | None]:
    """Each request whose number can be divided by ``distance`` meets the next one of the faults, again and again."""

    def fault(number: int, _verb: str, _kind: str) -> Fault | None:
        return faults[number // distance % len(faults)] if number % distance == 0 else None

    return fault
