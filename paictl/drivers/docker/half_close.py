"""TLS behind a plain socket, so that its sending half can be closed: Python's own TLS socket can't. Called by ``dialling``.

An engine takes the TLS message "close notify" for the end of what is sent, and goes on sending (crypto/tls in Go, as with
``CloseWrite`` of the docker command line). OpenSSL reads on after it, too; ``ssl.SSLSocket`` forgets that it was TLS.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading

__all__ = ["tunnel"]

_CHUNK = 64 * 1024
_FULL = 1024 * 1024


def tunnel(outer: socket.socket, context: ssl.SSLContext, host: str) -> socket.socket:
    """A plain socket to whoever is behind ``outer``; a thread of its own encrypts until both halves are closed."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=host)
    try:
        while not _shaken(session):
            outer.sendall(outgoing.read())
            arrived = outer.recv(_CHUNK)
            incoming.write(arrived) if arrived else incoming.write_eof()
        outer.sendall(outgoing.read())
    except OSError:
        outer.close()
        raise
    ours, inner = socket.socketpair()
    pump = _Pump(outer, inner, session, incoming, outgoing)
    threading.Thread(target=pump.run, name="docker-tls", daemon=True).start()
    return ours


def _shaken(session: ssl.SSLObject) -> bool:
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


class _Pump:
    """Bytes between the encrypted and the plain socket, both ways at once, never waiting for one of the two alone."""

    def __init__(
        self,
        outer: socket.socket,
        inner: socket.socket,
        session: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
    ) -> None:
        self.outer, self.inner, self.session, self.incoming, self.outgoing = outer, inner, session, incoming, outgoing
        self.to_outer, self.to_inner = bytearray(), bytearray()
        self.sending, self.receiving = True, True

    def run(self) -> None:
        with self.outer, self.inner, contextlib.suppress(OSError), selectors.DefaultSelector() as selector:
            for one in (self.outer, self.inner):
                one.setblocking(False)
                selector.register(one, selectors.EVENT_READ)
            self._decrypt()  # what came together with the end of the handshake wakes nobody up
            while self.receiving or self.to_inner:
                self._watch(selector)
                for key, events in selector.select():
                    if key.fileobj is self.outer:
                        self._outside(events)
                    else:
                        self._inside(events)

    def _watch(self, selector: selectors.BaseSelector) -> None:
        wanted = {
            self.outer: (self.receiving and len(self.to_inner) < _FULL, bool(self.to_outer)),
            self.inner: (self.sending and len(self.to_outer) < _FULL, bool(self.to_inner)),
        }
        for one, (read, write) in wanted.items():
            events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
            known = selector.get_map().get(one)
            if known is not None and known.events != events:
                selector.unregister(one)
                known = None
            if known is None and events:
                selector.register(one, events)

    def _outside(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            del self.to_outer[: self.outer.send(self.to_outer)]
        if events & selectors.EVENT_READ:
            arrived = self.outer.recv(_CHUNK)
            self.incoming.write(arrived) if arrived else self.incoming.write_eof()
            self._decrypt()

    def _inside(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            del self.to_inner[: self.inner.send(self.to_inner)]
        if events & selectors.EVENT_READ:
            content = self.inner.recv(_CHUNK)
            if content:
                self.session.write(content)
            else:
                self.sending = False
                # It wants the other side's "close notify" at once, which comes when that has said everything.
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLSyscallError):
                    self.session.unwrap()
            self.to_outer += self.outgoing.read()

    def _decrypt(self) -> None:
        try:
            while content := self.session.read(_CHUNK):
                self.to_inner += content
            self.receiving = False
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:  # a connection that just ends, without the message that it does
            self.receiving = False
        self.to_outer += self.outgoing.read()
