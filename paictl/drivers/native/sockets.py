"""HTTP over a UNIX socket, for the supervisor's calls and the services' health. Knows neither."""

from __future__ import annotations

import http.client
import os
import socket
from pathlib import Path

__all__ = ["UnixConnection"]


class UnixConnection(http.client.HTTPConnection):
    """To a socket whose path may be longer than a socket's address can hold (unix(7): 108 bytes)."""

    def __init__(self, path: Path, timeout: float) -> None:
        # The name by which loopback listeners know themselves: they refuse any other.
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)
