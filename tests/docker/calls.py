"""A relay before an engine's socket that remembers what it is asked for. Used where calls are counted: by tests and the benchmark."""

from __future__ import annotations

import re
import shutil
import socket
import socketserver
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Calls", "counted"]

_REQUEST = re.compile(rb"^(GET|HEAD|POST|PUT|DELETE) (?:/v[0-9.]+)?(/[^ ?]*)(\?[^ ]*)? HTTP/1\.1\r$", re.MULTILINE)
_ONE_OF_MANY = re.compile(r"^/(containers|exec|networks|volumes|images)/[^/]+(?=/|$)(?<!/json)")
_CHUNK = 64 * 1024


@dataclass
class Calls:
    """``host`` is what to put into DOCKER_HOST."""

    host: str
    asked: list[str] = field(default_factory=list)

    def take(self) -> Counter[str]:
        """What was asked since the last time: method and path, ``ID`` for which one, ``?`` where only some were asked for."""
        found, self.asked[:] = Counter(self.asked), []
        return found

    def hear(self, text: bytes) -> None:
        """Remember the requests in a piece of what a client sends."""
        for method, path, query in _REQUEST.findall(text):
            shortened = _ONE_OF_MANY.sub(r"/\1/ID", path.decode())
            self.asked.append(f"{method.decode()} {shortened}{'?' if b'filters' in query else ''}")


@contextmanager
def counted(host: str) -> Iterator[Calls]:
    """The engine at ``host`` (a Unix socket), through a relay."""
    # Not below a test's own folder: the path of a socket has at most 107 characters.
    folder = tempfile.mkdtemp(prefix="paictl-calls-")
    calls = Calls(f"unix://{folder}/docker.sock")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect(host.removeprefix("unix://"))
                back = threading.Thread(target=_pump, args=(engine, self.request), daemon=True)
                back.start()
                _pump(self.request, engine, calls)
                back.join()

    with socketserver.ThreadingUnixStreamServer(str(Path(folder, "docker.sock")), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield calls
        finally:
            server.shutdown()
            shutil.rmtree(folder)


def _pump(source: socket.socket, target: socket.socket, calls: Calls | None = None) -> None:
    """One direction, to its end; requests are heard where whole lines came in."""
    begun = b""
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            if calls is not None:
                whole, _, begun = (begun + chunk).rpartition(b"\n")
                calls.hear(whole)
                begun = begun[-_CHUNK:]
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
