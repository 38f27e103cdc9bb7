"""Kubernetes' channels over one WebSocket: the first byte of a message says which stream it belongs to.

Used by ``execution`` and ``forwarding``; knows nothing of what the streams carry. Frames are the library's matter.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.upgrade import upgraded

if TYPE_CHECKING:
    from websockets.frames import Frame
    from websockets.http11 import Request, Response

__all__ = ["Channels"]

_CHUNK = 64 * 1024
_NORMAL = 1000
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Channels:
    """One connection with several streams. Nothing in it waits: its user does, on ``stream``, for what it wants to do.

    For one thread at a time: a connection of TLS can't be read and written at the same moment.
    """

    def __init__(self, connection: Connection, path: str, what: str, /, protocol: str, **query: object) -> None:
        self.stream, self._speaking = upgraded(connection, path, what, protocol, query)
        self.stream.setblocking(False)
        self.ended = False
        self._unsent, self._whole = bytearray(), bytearray()

    @property
    def unsent(self) -> int:
        """How many bytes wait to be sent."""
        return len(self._unsent)

    @property
    def ready(self) -> bool:
        """Whether something has come already, of which the system says nothing any more."""
        return bool(self._speaking.events) or (isinstance(self.stream, ssl.SSLSocket) and self.stream.pending() > 0)

    def put(self, channel: int, content: bytes) -> None:
        """Have something sent on one of the streams, nothing being a message, too; raises ``OSError`` when it has ended."""
        from websockets.protocol import State

        for start in range(0, len(content) or 1, _CHUNK):
            if self._speaking.state is not State.OPEN:
                raise ConnectionError("the other side has ended it")
            self._speaking.send_binary(bytes([channel]) + content[start : start + _CHUNK])
        self._queue()

    def flush(self) -> None:
        """Send what goes now; raises ``OSError``, and then nothing waits any more."""
        try:
            while self._unsent:
                count = self.stream.send(self._unsent[:_CHUNK])
                del self._unsent[:count]
        except _NOT_NOW:
            return
        except OSError:
            self._unsent.clear()
            raise

    def take(self) -> list[tuple[int, bytes]]:
        """What has come, by stream, as far as it is here; raises ``OSError`` when the connection broke off."""
        if not self._speaking.events:
            try:
                content = self.stream.recv(_CHUNK)
            except _NOT_NOW:
                return []
            if not content:
                raise ConnectionError("the connection broke off")
            self._speaking.receive_data(content)
            self._queue()
        messages = [message for event in self._speaking.events_received() for message in self._told(event)]
        if self._speaking.parser_exc is not None and not messages:
            raise ConnectionError(f"what came is no WebSocket: {self._speaking.parser_exc}")
        return messages

    def close(self) -> None:
        """End it, wherever it stands."""
        from websockets.protocol import State

        with suppress(OSError):
            if self._speaking.state is State.OPEN:
                self._speaking.send_close(_NORMAL)
                self._queue()
            self.flush()
        self.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _queue(self) -> None:
        for piece in self._speaking.data_to_send():
            self._unsent += piece

    def _told(self, event: Frame | Request | Response) -> list[tuple[int, bytes]]:
        """The message that a frame ends."""
        from websockets.frames import DATA_OPCODES, Frame, Opcode

        if not isinstance(event, Frame):
            return []
        if event.opcode is Opcode.CLOSE:
            self.ended = True
        if event.opcode not in DATA_OPCODES:
            return []
        self._whole += event.data
        if not event.fin or not self._whole:
            return []
        whole = bytes(self._whole)
        self._whole.clear()
        return [(whole[0], whole[1:])]
