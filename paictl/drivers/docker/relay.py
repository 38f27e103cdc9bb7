"""A local address for a port in a container of an engine elsewhere: connections go through commands run there. Used by ``reach``.

What an engine publishes on its own loopback is not reached from here when it is another machine's. For each connection
made here, a small Python program runs in the container and connects to the port; it ends with the connection, and with the
process that asked for it. What is sent goes in frames with a length, so that the end of what is sent (a frame without
content) is told apart from an end of everything.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.execution import Frames, Running, begin
from paictl.errors import PaictlError

__all__ = ["relay"]

_CHUNK = 64 * 1024
_POLL_SECONDS = 0.2
_THERE = """
import os, socket, struct, sys, threading
there = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
there.settimeout(None)
def back():
    try:
        while content := there.recv(65536):
            while content:
                content = content[os.write(1, content):]
    except OSError:
        pass
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
def exactly(count):
    content = b""
    while len(content) < count:
        piece = os.read(0, count - len(content))
        if not piece:
            os._exit(0)
        content += piece
    return content
while True:
    length, = struct.unpack(">L", exactly(4))
    try:
        there.sendall(exactly(length)) if length else there.shutdown(socket.SHUT_WR)
    except OSError:
        os._exit(0)
"""


@contextmanager
def relay(
    connection: Connection, container_id: str, port: int, python: str = "python3", local: int = 0
) -> Iterator[str]:
    """``http://127.0.0.1:LOCAL`` (0: a free one), which is ``127.0.0.1:port`` in the container for as long as the block runs."""
    with socket.create_server(("127.0.0.1", local)) as listener:
        listener.settimeout(_POLL_SECONDS)
        ended, open_ones = threading.Event(), _Connections()

        def accept() -> None:
            while not ended.is_set():
                with suppress(TimeoutError):
                    client, _ = listener.accept()
                    client.settimeout(None)
                    command = [python, "-I", "-c", _THERE, str(port)]
                    threading.Thread(
                        target=_serve, args=(connection, container_id, command, client, open_ones), daemon=True
                    ).start()

        thread = threading.Thread(target=accept, name="relay", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()
            open_ones.end()


class _Connections:
    """The sockets in use, so that they can be ended from outside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._ended = False

    @contextmanager
    def using(self, *sockets: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.update(sockets)
            if self._ended:
                _shut(*sockets)
        try:
            yield
        finally:
            with self._lock:
                self._open.difference_update(sockets)

    def end(self) -> None:
        with self._lock:
            self._ended = True
            _shut(*self._open)


def _serve(
    connection: Connection, container_id: str, command: list[str], client: socket.socket, connections: _Connections
) -> None:
    with (
        client,
        suppress(PaictlError),
    ):  # whoever connected sees its connection end; the engine's state is told elsewhere
        running = begin(connection, container_id, command)
        running.stream.settimeout(None)
        with running.stream, connections.using(client, running.stream):
            threading.Thread(target=_send, args=(client, running.stream), daemon=True).start()
            with suppress(OSError):
                _receive(running, client)
            _shut(client, running.stream)


def _send(client: socket.socket, stream: socket.socket) -> None:
    with suppress(OSError):
        while content := client.recv(_CHUNK):
            stream.sendall(struct.pack(">L", len(content)) + content)
        stream.sendall(struct.pack(">L", 0))


def _receive(running: Running, client: socket.socket) -> None:
    frames, arrived = Frames(), running.arrived
    while True:
        for kind, content in frames.feed(arrived):
            if kind == 1:
                client.sendall(content)
        arrived = running.stream.recv(_CHUNK)
        if not arrived:
            return


def _shut(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
