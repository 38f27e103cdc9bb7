"""WebSocket frames (RFC 6455) with Kubernetes' channels in them: the first byte of a message says which stream it belongs to.

Used by ``execution`` and ``forwarding``; knows nothing of what the streams carry.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from typing import Self

from paictl.drivers.kubernetes.connection import Connection

__all__ = ["Channels"]

_BINARY, _CLOSE, _PING, _PONG = 0x2, 0x8, 0x9, 0xA
_FIRST, _MASKED, _SIZE = 0x80, 0x80, 0x7F
_CHUNK = 64 * 1024
_SEND_SECONDS = 60.0
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Channels:
    """One connection with several streams. One thread reads; any may send."""

    def __init__(self, connection: Connection, path: str, what: str, /, protocol: str, **query: object) -> None:
        headers = {
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode("ascii"),
            "Sec-WebSocket-Protocol": protocol,
        }
        self.stream, self._rest = connection.upgraded(path, what, headers, **query)
        # One connection of TLS can't be read and written at the same moment: each call returns at once, and waits outside.
        self.stream.setblocking(False)
        self._sending, self._using = threading.Lock(), threading.Lock()
        self._patience: float | None = None

    def send(self, channel: int, content: bytes) -> None:
        """Send on one of the streams."""
        for start in range(0, len(content) or 1, _CHUNK):
            self._frame(_BINARY, bytes([channel]) + content[start : start + _CHUNK])

    def receive(self, seconds: float | None) -> Iterator[tuple[int, bytes]]:
        """What comes, by stream, until the other side ends it; raises ``OSError``, ``TimeoutError`` when so long nothing came."""
        self._patience = seconds
        whole = b""
        while True:
            last, kind, content = self._next()
            if kind == _CLOSE:
                return
            if kind == _PING:
                self._frame(_PONG, content)
            if kind >= _CLOSE:
                continue
            whole += content
            if last:
                if whole:
                    yield whole[0], whole[1:]
                whole = b""

    def close(self) -> None:
        """End it, wherever it stands; whoever reads sees its end."""
        try:
            self._frame(_CLOSE, struct.pack(">H", 1000))
            self.stream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        finally:
            self.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _frame(self, kind: int, content: bytes) -> None:
        mask, size = os.urandom(4), len(content)
        head = bytes([_FIRST | kind])
        if size < 126:
            head += bytes([_MASKED | size])
        elif size < 1 << 16:
            head += struct.pack(">BH", _MASKED | 126, size)
        else:
            head += struct.pack(">BQ", _MASKED | 127, size)
        # As one number: byte by byte would be slow in Python.
        pattern = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        masked = (int.from_bytes(content, "big") ^ pattern).to_bytes(size, "big")
        with self._sending:
            rest = memoryview(head + mask + masked)
            while rest:
                rest = rest[self._some(rest) :]

    def _next(self) -> tuple[bool, int, bytes]:
        first, second = self._exactly(2)
        size = second & _SIZE
        if size == 126:
            size = struct.unpack(">H", self._exactly(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._exactly(8))[0]
        return bool(first & _FIRST), first & 0x0F, self._exactly(size)

    def _exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            piece = self._piece()
            if not piece:
                raise ConnectionError("the connection broke off")
            self._rest += piece
        content, self._rest = self._rest[:count], self._rest[count:]
        return content

    def _some(self, content: memoryview) -> int:
        """How much of it went; waits until some can."""
        while True:
            try:
                with self._using:
                    return self.stream.send(content[:_CHUNK])
            except _NOT_NOW:
                if not select.select([], [self.stream], [], _SEND_SECONDS)[1]:
                    raise TimeoutError("the other side takes nothing any more") from None

    def _piece(self) -> bytes:
        while True:
            try:
                with self._using:
                    return self.stream.recv(_CHUNK)
            except _NOT_NOW:
                if not select.select([self.stream], [], [], self._patience)[0]:
                    raise TimeoutError("nothing came") from None
