"""A gateway that speaks the documented protocol of the outer door and says what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Gateway:
    """``pieces`` are the answer; after ``hold_after`` of them it waits until ``go_on`` is set."""

    pieces: list[str]
    hold_after: int = 1 << 30
    go_on: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


@contextmanager
def gateway(*pieces: str, hold_after: int = 1 << 30) -> Iterator[Gateway]:
    """Serve on a free port of loopback until the block ends."""
    made = Gateway(list(pieces), hold_after)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.asked.append(
                {
                    "path": self.path,
                    "token": self.headers["Authorization"],
                    "session": self.headers["X-Paictl-Session"],
                    "text": body["messages"][-1]["content"],
                    "before": [(one["role"], one["content"]) for one in body["messages"][:-1]],
                    "stream": body["stream"],
                }
            )
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for index, piece in enumerate(made.pieces):
                if index == made.hold_after:
                    made.go_on.wait(60)
                self._event({"choices": [{"index": 0, "delta": {"content": piece}}]})
            self.wfile.write(b"data: [DONE]\n\n")

        def do_DELETE(self) -> None:
            made.ended.append(self.path)
            self.send_response(204)
            self.end_headers()

        def _event(self, event: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except (BrokenPipeError, ConnectionResetError):
                """The person stopped listening."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
