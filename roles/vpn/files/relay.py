"""`relay.py PORT INTERFACE SCRIPT`: serves WireGuard in a network of its own, and brings it what comes to the machine's UDP port.

The port is open outside, by systemd. Starts wireguard-go, has SCRIPT configure it, and ends when it does. Knows no key.
"""

from __future__ import annotations

import hashlib
import os
import selectors
import socket
import subprocess
import sys
from collections import OrderedDict
from contextlib import suppress

_FIRST_FROM_SYSTEMD = 3
_LARGEST, _AT_ONCE = 65536, 64
# Whoever sends gets a socket. Who was never answered has no key, and is forgotten first.
_MOST_ANSWERED, _MOST_OTHERS = 512, 64
# Where the number of the interface is in what tells the address that was written to (ip(7), ipv6(7)).
_INTERFACE = {socket.IPPROTO_IP: slice(0, 4), socket.IPPROTO_IPV6: slice(16, 20)}


class _Sender:
    """One outside: where its datagrams go on inside, and from which of the machine's addresses it is answered."""

    def __init__(self, address: tuple, port: int) -> None:
        self.address = address
        self.ancillary: list[tuple[int, int, bytes]] = []
        self.inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        # An address for each outside, so that the program's limit for one of them is not everybody's.
        digest = hashlib.sha256(address[0].encode()).digest()
        self.inside.bind((f"127.{digest[0]}.{digest[1]}.{1 + digest[2] % 254}", 0))
        self.inside.connect(("127.0.0.1", port))


class _Relay:
    def __init__(self, outside: socket.socket, port: int) -> None:
        self._outside, self._port = outside, port
        self._answered: OrderedDict[tuple, _Sender] = OrderedDict()
        self._others: OrderedDict[tuple, _Sender] = OrderedDict()
        self._ready = selectors.DefaultSelector()
        self._ready.register(outside, selectors.EVENT_READ)

    def run(self, ends: int) -> None:
        """Until ``ends`` has something to read."""
        self._ready.register(ends, selectors.EVENT_READ)
        while True:
            for key, _ in self._ready.select():
                if key.fd == ends:
                    return
                # What can't be carried is lost, as any datagram may be.
                with suppress(OSError):
                    for _ in range(_AT_ONCE):
                        self._out(key.data) if key.data else self._in()

    def _in(self) -> None:
        data, ancillary, _, address = self._outside.recvmsg(_LARGEST, 256)
        sender = self._sender(address)
        sender.ancillary = _without_interface(ancillary)
        sender.inside.send(data)

    def _out(self, sender: _Sender) -> None:
        data = sender.inside.recv(_LARGEST)
        if self._others.pop(sender.address, None):
            self._answered[sender.address] = sender
            self._forget(self._answered, _MOST_ANSWERED)
        self._outside.sendmsg([data], sender.ancillary, 0, sender.address)

    def _sender(self, address: tuple) -> _Sender:
        known = self._answered if address in self._answered else self._others
        if address not in known:
            known[address] = made = _Sender(address, self._port)
            self._ready.register(made.inside, selectors.EVENT_READ, made)
            self._forget(known, _MOST_OTHERS)
        known.move_to_end(address)
        return known[address]

    def _forget(self, senders: OrderedDict[tuple, _Sender], most: int) -> None:
        while len(senders) > most:
            _, oldest = senders.popitem(last=False)
            self._ready.unregister(oldest.inside)
            oldest.inside.close()


def _without_interface(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Which one leads back is the routes' matter."""
    found = []
    for level, kind, data in ancillary:
        if level in _INTERFACE:
            told = bytearray(data)
            told[_INTERFACE[level]] = bytes(4)
            found.append((level, kind, bytes(told)))
    return found


def _tell_systemd() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        told.send(b"READY=1")


def main(port: int, interface: str, script: str) -> None:
    """Until the program ends, which is a failure."""
    outside = socket.socket(fileno=_FIRST_FROM_SYSTEMD)
    outside.setblocking(False)
    # It listens at the same port, and so can't begin where this network is not its own.
    served = subprocess.Popen(["wireguard-go", "--foreground", interface])
    subprocess.run(["/bin/sh", script, "configure"], check=True)
    _tell_systemd()
    _Relay(outside, port).run(os.pidfd_open(served.pid))
    sys.exit("wireguard-go ended")


main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
