"""A Unix socket before an engine's own, which answers some of what is asked with an error. Used by tests of a half-read target."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Broken", "broken_engine"]

_ANSWER = b'{"message": "the disk is on fire"}'
_REFUSAL = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
    b"%d\r\n\r\n%b" % (len(_ANSWER), _ANSWER)
)


@dataclass
class Broken:
    """``host`` is its address; what begins (behind the version) with ``path`` is refused. ``asked`` is all that came."""

    host: str
    path: str = ""
    asked: list[str] = field(default_factory=list)

    @property
    def writes(self) -> list[str]:
        """What could have changed something."""
        return [one for one in self.asked if not one.startswith(("GET ", "HEAD "))]


@contextmanager
def broken_engine(folder: Path, engine: str) -> Iterator[Broken]:
    """One in front of the engine at ``engine`` (``unix://…``); whole as long as no path is set."""
    path = folder / "broken.sock"
    broken = Broken(f"unix://{path}")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            _serve(self.request, broken, engine.removeprefix("unix://"))

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield broken
        finally:
            server.shutdown()
            thread.join()


def _serve(asking: socket.socket, broken: Broken, engine: str) -> None:
    """One request a connection, so that each is seen."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = asking.recv(65536)
        if not piece:
            return
        head += piece
    first, _, rest = head.partition(b"\r\n")
    verb, target, _ = first.decode("ascii").split(" ")
    behind = target.partition("/v1.")[2].partition("/")[2]
    broken.asked.append(f"{verb} {behind}")
    if broken.path and behind.startswith(broken.path):
        asking.sendall(_REFUSAL)
        return
    with socket.socket(socket.AF_UNIX) as answering:
        answering.connect(engine)
        answering.sendall(first + b"\r\nConnection: close\r\n" + rest.replace(b"Connection: keep-alive\r\n", b"", 1))
        back = threading.Thread(target=_pump, args=(answering, asking))
        back.start()
        _pump(asking, answering)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
