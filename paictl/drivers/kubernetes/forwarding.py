"""A local address for a port of a pod: each connection goes through one WebSocket of the API server. Used by ``reach``."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.kinds import POD
from paictl.drivers.kubernetes.websocket import Channels
from paictl.errors import PaictlError

__all__ = ["forward"]

_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_CHUNK = 64 * 1024
_POLL_SECONDS = 0.2


@contextmanager
def forward(connection: Connection, pod: Callable[[], Json], port: int) -> Iterator[str]:
    """``http://127.0.0.1:<free port>``, which is ``port`` of the pod that serves then, for as long as the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_POLL_SECONDS)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                with suppress(TimeoutError):
                    client, _ = listener.accept()
                    client.settimeout(None)
                    threading.Thread(target=_serve, args=(connection, pod, port, client), daemon=True).start()

        thread = threading.Thread(target=accept, name="port-forward", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def _serve(connection: Connection, pod: Callable[[], Json], port: int, client: socket.socket) -> None:
    # Whoever connected sees its connection end; the cluster's state is told elsewhere.
    with client, suppress(PaictlError, OSError):
        metadata = pod()["metadata"]
        path = f"{POD.path(metadata['namespace'], metadata['name'])}/portforward"
        with Channels(connection, path, "reaching a port", _PROTOCOL, ports=port) as channels:
            threading.Thread(target=_send, args=(client, channels), daemon=True).start()
            _receive(channels, client)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


def _send(client: socket.socket, channels: Channels) -> None:
    with suppress(OSError):
        while content := client.recv(_CHUNK):
            channels.send(_DATA, content)
        channels.close()


def _receive(channels: Channels, client: socket.socket) -> None:
    greeted: set[int] = set()
    for channel, content in channels.receive(None):
        if channel not in greeted:
            # The first message of each stream is the port's number.
            greeted.add(channel)
            content = content[2:]  # noqa: PLW2901 - what is left of it
        if channel == _DATA:
            client.sendall(content)
        elif content:
            return
