"""A local address for a port of a pod: each connection goes through one WebSocket of the API server. Used by ``reach``.

The protocol has no word for the end of one direction alone. So when a client has said all that it will say, its connection
stays as long as the pod goes on answering; one that has gone altogether looks the same, until the pod's next word.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.kinds import POD
from paictl.drivers.kubernetes.pods import is_ready
from paictl.drivers.kubernetes.websocket import Channels
from paictl.errors import PaictlError

__all__ = ["forward"]

_PROTOCOL = "v4.channel.k8s.io"
_DATA = 0
_CHUNK = 64 * 1024
# So far one side may be ahead of the other; whoever is faster waits.
_AHEAD = 256 * 1024
_SILENT_SECONDS = 5.0
# While one pod makes way for the next, a connection waits for it.
_REPLACED_SECONDS, _PAUSE_SECONDS = 15.0, 0.3
_END_SECONDS = 2.0
_WAITING = 128

Pod = Callable[[], Json]


@contextmanager
def forward(connection: Connection, pod: Pod, port: int, local: int = 0) -> Iterator[str]:
    """``http://127.0.0.1:LOCAL`` (0: a free one), which is ``port`` of the pod that serves then, for as long as the block runs.

    Raises at once what every connection would come to, such as a right that lacks.
    """
    _channels(connection, pod(), port).close()
    with socket.create_server(("127.0.0.1", local), backlog=_WAITING) as listener:
        stop, stopping = os.pipe()
        serving: list[threading.Thread] = []

        def accept() -> None:
            while stop not in select.select([listener.fileno(), stop], [], [])[0]:
                with suppress(OSError):
                    client, _ = listener.accept()
                    thread = threading.Thread(target=_serve, args=(connection, pod, port, client, stop), daemon=True)
                    serving[:] = [*(one for one in serving if one.is_alive()), thread]
                    thread.start()

        accepting = threading.Thread(target=accept, name="port-forward", daemon=True)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            os.close(stopping)
            accepting.join()
            deadline = time.monotonic() + _END_SECONDS
            for thread in serving:
                thread.join(max(0.0, deadline - time.monotonic()))
            if not any(one.is_alive() for one in serving):
                os.close(stop)


def _channels(connection: Connection, pod: Json, port: int) -> Channels:
    metadata = pod["metadata"]
    path = f"{POD.path(metadata['namespace'], metadata['name'])}/portforward"
    return Channels(connection, path, "reaching a port", _PROTOCOL, ports=port)


def _serve(connection: Connection, pod: Pod, port: int, client: socket.socket, stop: int) -> None:
    # Whoever connected sees its connection end; the cluster's state is told elsewhere.
    with client, suppress(PaictlError, OSError), _channels(connection, _ready(pod), port) as channels:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _Both(client, channels, stop).pump()


def _ready(pod: Pod) -> Json:
    """The pod that serves; while there is none, or one that has only begun, it is waited for."""
    deadline = time.monotonic() + _REPLACED_SECONDS
    while True:
        late = time.monotonic() > deadline
        try:
            found = pod()
            if late or is_ready(found):
                return found
        except PaictlError:
            if late:
                raise
        time.sleep(_PAUSE_SECONDS)


class _Both:
    """A client and its pod: what one says is handed to the other, without either waiting for a word that was for the other."""

    def __init__(self, client: socket.socket, channels: Channels, stop: int) -> None:
        self._client, self._channels, self._stop = client, channels, stop
        self._unsent = bytearray()
        self._greeted: set[int] = set()
        self._said_all = self._answered_all = False

    def pump(self) -> None:
        """Until the pod has ended it, the client has gone, or what serves both ends; raises ``OSError`` when the client broke off."""
        while not (self._answered_all and not self._unsent):
            readable, writable = self._wait()
            if self._stop in readable or (self._said_all and not readable and not writable):
                return
            if self._client.fileno() in readable:
                self._listen()
            if self._channels.stream.fileno() in readable:
                self._take()
            self._speak()

    def _wait(self) -> tuple[list[int], list[int]]:
        """Which descriptors can be read and written; none when nothing happened for too long."""
        stream, client = self._channels.stream.fileno(), self._client.fileno()
        hears = len(self._unsent) < _AHEAD and not self._answered_all
        if hears and self._channels.ready:
            return [stream], []
        reading = [self._stop]
        if hears:
            reading.append(stream)
        if not self._said_all and self._channels.unsent < _AHEAD:
            reading.append(client)
        writing = [*([stream] if self._channels.unsent else []), *([client] if self._unsent else [])]
        readable, writable, _ = select.select(reading, writing, [], _SILENT_SECONDS if self._said_all else None)
        return readable, writable

    def _listen(self) -> None:
        content = self._client.recv(_CHUNK)
        self._said_all = not content
        if content:
            self._put(content)

    def _put(self, content: bytes) -> None:
        try:
            self._channels.put(_DATA, content)
        except OSError:  # the pod listens no more; what it said before is still to be handed over
            self._said_all = True

    def _take(self) -> None:
        try:
            messages = self._channels.take()
        except OSError:
            self._answered_all = True
            return
        for channel, content in messages:
            said = content
            if channel not in self._greeted:
                # The first message of each stream is the port's number.
                self._greeted.add(channel)
                said = content[2:]
            if channel == _DATA:
                self._unsent += said
            elif said:
                self._answered_all = True
        self._answered_all |= self._channels.ended

    def _speak(self) -> None:
        try:
            self._channels.flush()
        except OSError:
            self._said_all = True
        with suppress(BlockingIOError):
            while self._unsent:
                count = self._client.send(self._unsent[:_CHUNK])
                del self._unsent[:count]
