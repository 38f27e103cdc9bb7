"""A small OpenAI-compatible model server over real HTTP: chat (streamed or not), embeddings with deterministic vectors."""

from __future__ import annotations

import hashlib
import json
import math
import re
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIMENSION = 32


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Upstream:
    """What was asked of it, and how it shall behave."""

    asked: list[Asked] = field(default_factory=list)
    pieces: list[str] = field(default_factory=lambda: ["Hello", " from", " the", " model"])
    pause: Callable[[int], None] = lambda index: None
    fail: tuple[int, dict[str, str], bytes] | None = None
    salt: str = ""
    endpoint: str = ""

    def of(self, path: str) -> list[Asked]:
        return [one for one in self.asked if one.path == path]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # The default of 5 drops connections of a burst, which are then tried again seconds later.
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that hang up are what some tests are about.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _UnixServer(_Server):
    address_family = 1  # AF_UNIX

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0


def vector(text: str, salt: str = "") -> list[float]:
    """A bag of hashed words of unit length: texts that share words are near each other."""
    values = [0.0] * DIMENSION
    for word in re.findall(r"\w+", text.lower()):
        digest = hashlib.sha256((salt + word).encode()).digest()
        values[digest[0] % DIMENSION] += 1.0 if digest[1] % 2 else -1.0
        values[digest[2] % DIMENSION] += 0.5
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]


class _Handler(BaseHTTPRequestHandler):
    upstream: Upstream
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def do_GET(self) -> None:
        self._json(200, {"status": "ok", "data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.upstream.asked.append(Asked(self.path, headers, body))
        if self.upstream.fail:
            status, extra, content = self.upstream.fail
            self._send(status, extra, content)
        elif self.path == "/v1/embeddings":
            texts = body["input"]
            data = [{"index": i, "embedding": vector(text, self.upstream.salt)} for i, text in enumerate(texts)]
            self._json(200, {"object": "list", "data": data, "model": body["model"]})
        elif body.get("stream"):
            self._stream(body)
        else:
            message = {"role": "assistant", "content": "".join(self.upstream.pieces)}
            usage = {"prompt_tokens": 11, "completion_tokens": len(self.upstream.pieces), "total_tokens": 0}
            self._json(200, {"id": "c", "choices": [{"index": 0, "message": message}], "usage": usage})

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for index, piece in enumerate(self.upstream.pieces):
            self.upstream.pause(index)
            self._event({"id": "c", "choices": [{"index": 0, "delta": {"content": piece}}]})
        if body.get("stream_options", {}).get("include_usage"):
            usage = {"prompt_tokens": 11, "completion_tokens": len(self.upstream.pieces), "total_tokens": 0}
            self._event({"id": "c", "choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, payload: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(payload).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _json(self, status: int, payload: dict[str, Any]) -> None:
        self._send(status, {"Content-Type": "application/json"}, json.dumps(payload).encode())

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _handler(upstream: Upstream, *, tcp: bool) -> type[BaseHTTPRequestHandler]:
    # Without this, each answer over TCP waits for a delayed acknowledgement.
    return type("Handler", (_Handler,), {"upstream": upstream, "disable_nagle_algorithm": tcp})


@contextmanager
def running(path: str | None = None) -> Iterator[Upstream]:
    """On a Unix socket at ``path``, or on a free port of 127.0.0.1."""
    upstream = Upstream()
    if path is None:
        server = _Server(("127.0.0.1", 0), _handler(upstream, tcp=True))
        upstream.endpoint = f"http://127.0.0.1:{server.server_address[1]}/v1"
    else:
        server = _UnixServer(path, _handler(upstream, tcp=False))  # type: ignore[arg-type] # a path is an address of this family
        upstream.endpoint = f"unix:{path}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def eventually(holds: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until it holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
