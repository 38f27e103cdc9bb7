"""Ports for servers that a test starts later: from where the kernel takes none by itself, so that nobody is faster."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

# Below Linux's ip_local_port_range (32768 and up): no outgoing connection of another test can take it meanwhile.
_FIRST, _LAST = 20_000, 29_999
_CHANCE = random.SystemRandom()


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    while True:
        port = _CHANCE.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
