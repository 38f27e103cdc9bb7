"""The agent's way to its own part of the database: through the gateway, for its room has one door.

It shows the token that it shows at the inner door. The gateway then logs in as the agent's role, whose password no agent
ever has, and passes bytes on. That role sees what the agent made itself, and nothing else (``schema._make_room``).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import ssl
import struct
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from paictl.runtime.gateway import endpoints
from paictl.runtime.gateway.pgserver import PgServer
from paictl.runtime.gateway.shared.scram import Scram

__all__ = ["Relay"]

# https://www.postgresql.org/docs/current/protocol-message-formats.html
_PROTOCOL = 196608
_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_LOGIN_SECONDS = 15.0
_LONGEST = 65536
_CONNECTIONS = 64
# What a client may say of itself; everything else, such as another user, is not its to choose.
_KEPT = frozenset({"client_encoding", "DateStyle", "IntervalStyle", "TimeZone", "extra_float_digits"})
_log = logging.getLogger("paictl.gateway")


class _Refused(Exception):
    """The login ends here; the text is for whoever tried."""


class Relay:
    """Listens for the agent; each of its connections is one to the database."""

    def __init__(self, server: PgServer, role: str, password: str, token: str) -> None:
        self._server = server
        self._role = role
        self._password = password
        self._token = token
        self._listening: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def open(self, endpoint: str) -> None:
        """Listen from now on; raises ``OSError`` when the address is taken."""
        self._listening = await asyncio.start_server(self._meet, sock=endpoints.listen(endpoint))

    async def close(self) -> None:
        """Let go of every connection; the agent makes new ones, to another gateway."""
        if self._listening is not None:
            self._listening.close()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_LOGIN_SECONDS):
                there = await self._let_in(reader, writer)
            if there is not None:
                await _pass_on((reader, writer), there)
        except _Refused as reason:
            _log.warning("the agent's connection to the database was refused: %s", reason)
            with contextlib.suppress(OSError):
                writer.write(_error(str(reason)))
                await writer.drain()
        except (OSError, EOFError, TimeoutError, ValueError, struct.error) as error:
            _log.info("a connection of the agent to the database ended: %s", type(error).__name__)
        except asyncio.CancelledError:
            # Only the end of the gateway cancels it.
            pass
        finally:
            writer.close()

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Stream | None:
        said = await self._startup(reader, writer)
        if said is None:
            return None
        if len(self._open) > _CONNECTIONS:
            raise _Refused("too many connections")
        writer.write(_message(b"R", struct.pack("!i", 3)))
        await writer.drain()
        kind, body = await _read(reader)
        if kind != b"p" or not hmac.compare_digest(body.rstrip(b"\0"), self._token.encode()):
            raise _Refused("a valid token is needed")
        there = await self._reach()
        try:
            await self._log_in(there, said)
        except BaseException:
            there[1].close()
            raise
        writer.write(_message(b"R", struct.pack("!i", 0)))
        return there

    async def _startup(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Mapping[str, str] | None:
        while True:
            length, code = struct.unpack("!ii", await reader.readexactly(8))
            if not 8 <= length <= _LONGEST:
                raise _Refused("not the protocol of Postgres")
            body = await reader.readexactly(length - 8)
            if code in {_SSL, _GSS}:
                # The way is as private as that of every other call at the inner door.
                writer.write(b"N")
                await writer.drain()
            elif code == _CANCEL:
                _, there = await self._reach()
                there.write(struct.pack("!ii", length, code) + body)
                await there.drain()
                there.close()
                return None
            elif code >> 16 == _PROTOCOL >> 16:
                words = body.decode().split("\0")
                return {key: value for key, value in zip(words[::2], words[1::2], strict=False) if key in _KEPT}
            else:
                raise _Refused("this protocol is not known here")

    async def _reach(self) -> _Stream:
        parts = urlsplit(f"//{self._server.where}")
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        mode = _ssl_mode(self._server)
        if mode != "disable":
            writer.write(struct.pack("!ii", 8, _SSL))
            await writer.drain()
            if await reader.readexactly(1) == b"S":
                await writer.start_tls(_tls(mode), server_hostname=parts.hostname)
            elif mode not in {"prefer", "allow"}:
                writer.close()
                raise _Refused(f"the database offers no TLS, and sslmode is {mode}")
        return reader, writer

    async def _log_in(self, there: _Stream, said: Mapping[str, str]) -> None:
        reader, writer = there
        words = {"user": self._role, "database": _database(self._server), "application_name": "paictl agent", **said}
        body = "".join(f"{key}\0{value}\0" for key, value in words.items()).encode() + b"\0"
        writer.write(struct.pack("!ii", len(body) + 8, _PROTOCOL) + body)
        scram = Scram(self._password)
        while True:
            await writer.drain()
            kind, body = await _read(reader)
            if kind == b"E":
                raise _Refused(f"the database refused: {_told(body)}")
            (code,) = struct.unpack("!i", body[:4]) if kind == b"R" else (-1,)
            if code == 0:
                if not scram.proved:
                    raise _Refused("the database did not ask for the password, so it may be another one")
                return
            if code == 10:
                first = scram.first()
                writer.write(_message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
            elif code == 11:
                writer.write(_message(b"p", scram.final(body[4:])))
            elif code == 12:
                scram.check(body[4:])
            else:
                raise _Refused("the database asks for a password in another way than SCRAM-SHA-256")


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _pass_on(here: _Stream, there: _Stream) -> None:
    """Bytes both ways, until either side ends."""
    ways = [asyncio.create_task(_copy(here[0], there[1])), asyncio.create_task(_copy(there[0], here[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)
        there[1].close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_LONGEST):
            sink.write(data)
            await sink.drain()


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    (length,) = struct.unpack("!i", await reader.readexactly(4))
    if not 4 <= length <= _LONGEST:
        raise _Refused("not the protocol of Postgres")
    return kind, await reader.readexactly(length - 4)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _error(reason: str) -> bytes:
    return _message(b"E", f"SFATAL\0VFATAL\0C28000\0M{reason}\0\0".encode())


def _told(body: bytes) -> str:
    fields = {field[:1]: field[1:] for field in body.decode(errors="replace").split("\0") if field}
    return fields.get("M", "without a reason")


def _ssl_mode(server: PgServer) -> str:
    if server.endpoint.startswith("tcp:"):
        return "disable"
    return parse_qs(urlsplit(server.endpoint).query).get("sslmode", ["prefer"])[0]


def _tls(mode: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = mode == "verify-full"
    if mode not in {"verify-full", "verify-ca"}:
        # As libpq has it: encrypted, and whoever answers is believed; the URL can ask for more.
        context.verify_mode = ssl.CERT_NONE
    return context


def _database(server: PgServer) -> str:
    if server.endpoint.startswith("tcp:"):
        return "paictl"
    parts = urlsplit(server.endpoint)
    return parts.path.strip("/") or parts.username or "postgres"
