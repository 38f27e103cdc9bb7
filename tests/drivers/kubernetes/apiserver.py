"""A server that answers as an API server does, over real sockets and TLS: for what a connection has to bear. Used by its tests."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.kubernetes.certificates import Authority

__all__ = ["CUT", "Answer", "Asked", "Server", "serving", "tunnel"]


@dataclass(frozen=True)
class Asked:
    """One request, as it came: names of headers as they were sent, whom the client's certificate names, the connection's port."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    subject: str
    connection: int

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass(frozen=True)
class Answer:
    """``promised``: how many bytes are announced; where fewer come, the connection is cut in the middle of them."""

    status: int = 200
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    promised: int = 0
    close: bool = False


CUT = Answer(promised=1000)


@dataclass
class Server:
    """``answer`` is asked for each request; ``asked`` has all of them."""

    host: str
    port: int
    answer: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.place}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    told: Server

    def __init__(self, host: str, tls: ssl.SSLContext) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), _Handler)
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes is none of the test's matter."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        peer = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        names: Any = (peer or {}).get("subject", ())
        subject = dict(pair for one in names for pair in one).get("commonName", "")
        asked = Asked(self.command, self.path, self.headers.items(), body, str(subject), self.client_address[1])
        self.server.told.asked.append(asked)
        answer = self.server.told.answer(asked)
        content = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(answer.promised or len(content)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
        # Without a word of it in the headers, as servers that go for other reasons do.
        self.close_connection = self.close_connection or answer.close or bool(answer.promised)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@contextmanager
def serving(
    folder: Path, answer: Callable[[Asked], Answer], host: str = "127.0.0.1", name: str = "localhost"
) -> Iterator[Server]:
    """One with a certificate of an authority below ``folder`` for ``host`` and ``name``; asks for the client's, but needs none."""
    authority = Authority(folder)
    authority.issue("server", hosts=[host, name])
    authority.issue("client")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.crt"))
    tls.load_cert_chain(folder / "server.crt", folder / "server.key")
    tls.verify_mode = ssl.CERT_OPTIONAL
    made = _Server(host, tls)
    made.told = Server(host, made.server_address[1], answer)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made.told
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


@contextmanager
def tunnel(target: Server) -> Iterator[tuple[str, list[str]]]:
    """A proxy that leads every CONNECT to ``target``: its address, and the lines that it was asked with."""
    lines: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                stream, _ = listening.accept()
            except OSError:
                return
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += stream.recv(1)
            lines.extend(head.decode("ascii").strip().splitlines())
            there = socket.create_connection((target.host, target.port))
            stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            ends.extend((stream, there))
            for source, sink in ((stream, there), (there, stream)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://me:it%27s@127.0.0.1:{listening.getsockname()[1]}", lines
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
        for end in ends:
            end.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return
