"""Carries what the services of one host ask of another's: mutual TLS between two ends that know each other's certificate.

Run as a unit on each host of an agent that lives on several (``roles/link``), on the standard library alone. It never looks
into what it carries, and believes nobody else's signature: who is not pinned is not let in.

The configuration: ``asks`` says which host has an endpoint, and where; ``gives`` which host may ask for which endpoints, on
the port ``listen``. Both ends name the host's own sockets as every service does: ``run/SERVICE/ENDPOINT.sock``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Carrier", "main"]

_CERTIFICATE, _KEY, _PINS = Path("link/certificate.pem"), Path("secrets/link-key"), Path("link/pins")
# As many as a gateway keeps open, and what a greeting may take.
_MOST, _GREETING_SECONDS, _GREETING_BYTES = 256, 10.0, 256
_CHUNK = 64 * 1024
# A cable that was cut says nothing: after about half a minute the connection is taken for lost, and whoever waits is told.
_SILENCE: Mapping[str, int] = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Refused(Exception):
    """Somebody who is not the one that was expected, or who asks for what is not given."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """Both ends of one host; ``configuration`` as above. Paths are relative to the working directory."""

    configuration: Mapping[str, Any]

    async def run(self) -> None:
        """Until cancelled."""
        async with contextlib.AsyncExitStack() as stack:
            for endpoint, there in self.configuration["asks"].items():
                listening = await asyncio.start_unix_server(self._guarded(self._ask, endpoint, there), _local(endpoint))
                await stack.enter_async_context(listening)
            if port := self.configuration["listen"]:
                limits: dict[str, Any] = {"ssl_handshake_timeout": _GREETING_SECONDS, "limit": _CHUNK}
                door = await asyncio.start_server(self._guarded(self._give), port=port, ssl=self._door(), **limits)
                await stack.enter_async_context(door)
            sys.stderr.write("link: carrying\n")
            await asyncio.Event().wait()

    def _guarded(self, what: Any, *more: Any) -> Any:
        """A connection that can't be carried is closed and told in one line; ``open_now`` bounds how many there are."""
        open_now: set[object] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            open_now.add(writer)
            try:
                _check_room(open_now)
                await what(reader, writer, *more)
            except (_Refused, OSError, TimeoutError, ssl.SSLError, asyncio.IncompleteReadError, ValueError) as error:
                sys.stderr.write(f"link: {_sentence(error)}\n")
            finally:
                open_now.discard(writer)
                writer.close()

        return handle

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, endpoint: str, there: Mapping[str, Any]
    ) -> None:
        """One connection of a service of ours, carried to the host that has the endpoint."""
        name, address, port = there["host"], there["address"], there["port"]
        context = _context(ssl.PROTOCOL_TLS_CLIENT, [name])
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                far_reader, far_writer = await asyncio.open_connection(address, port, ssl=context)
        except (OSError, TimeoutError) as error:
            raise _Refused(f"{endpoint} at {name} ({address}:{port}): {_sentence(error)}") from error
        with contextlib.closing(far_writer):
            _notice_silence(far_writer)
            _known(far_writer, [name])
            far_writer.write(f"{endpoint}\n".encode())
            await _carry((reader, writer), (far_reader, far_writer))

    async def _give(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of another host, carried to a socket of ours."""
        _notice_silence(writer)
        name = _known(writer, self.configuration["gives"])
        async with asyncio.timeout(_GREETING_SECONDS):
            endpoint = (await reader.readuntil(b"\n"))[:_GREETING_BYTES].decode("ascii").rstrip("\n")
        if endpoint not in self.configuration["gives"][name]:
            raise _Refused(f"{name} asked for {endpoint!r}, which is not given to it")
        near_reader, near_writer = await asyncio.open_unix_connection(_local(endpoint))
        with contextlib.closing(near_writer):
            await _carry((reader, writer), (near_reader, near_writer))

    def _door(self) -> ssl.SSLContext:
        """Pins are read anew for each caller: a certificate that was exchanged meanwhile needs no restart."""
        names = self.configuration["gives"]
        context = _context(ssl.PROTOCOL_TLS_SERVER, names)

        def greet(_: object, __: object, asked: ssl.SSLContext) -> None:
            _trust(asked, names)

        context.sni_callback = greet
        return context


def _check_room(open_now: Collection[object]) -> None:
    if len(open_now) > _MOST:
        raise _Refused(f"more than {_MOST} connections at once")


def _context(kind: int, names: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(kind)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Its certificate is what a host is known by, not its name or address.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(_CERTIFICATE, _KEY)
    _trust(context, names)
    return context


def _trust(context: ssl.SSLContext, names: Sequence[str]) -> None:
    for name in names:
        if pin := _pin(name):
            context.load_verify_locations(cadata=pin)


def _pin(name: str) -> bytes:
    """The other host's certificate; empty until it was exchanged."""
    with contextlib.suppress(FileNotFoundError):
        return ssl.PEM_cert_to_DER_cert((_PINS / f"{name}.pem").read_text(encoding="ascii"))
    return b""


def _known(writer: asyncio.StreamWriter, names: Sequence[str]) -> str:
    """Whose certificate that is, to the byte: what a pinned one may have signed is not it."""
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    for name in names:
        if shown and shown == _pin(name):
            return name
    raise _Refused(f"{writer.get_extra_info('peername')[0]} shows a certificate that is not pinned any more")


def _local(endpoint: str) -> str:
    return f"run/{endpoint}.sock"


def _notice_silence(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SILENCE.items():
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _carry(one: _Streams, other: _Streams) -> None:
    """Bytes both ways until one side ends; what was said until then still arrives."""
    pumps = [asyncio.create_task(_pump(one[0], other[1])), asyncio.create_task(_pump(other[0], one[1]))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        ended = await asyncio.gather(*pumps, return_exceptions=True)
    for error in ended:
        if isinstance(error, ssl.SSLError):
            raise error


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while content := await reader.read(_CHUNK):
        writer.write(content)
        await writer.drain()


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def main(arguments: Sequence[str] | None = None) -> None:
    """As every program of the runtime is started; ends with SIGTERM."""
    parser = argparse.ArgumentParser(prog="paictl.runtime.link")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    asked = parser.parse_args(arguments)
    os.chdir(asked.root)
    for endpoint in (configuration := json.loads(asked.config.read_bytes()))["asks"]:
        Path(_local(endpoint)).unlink(missing_ok=True)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_until_told(Carrier(configuration)))


async def _until_told(carrier: Carrier) -> None:
    running = asyncio.ensure_future(carrier.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, functools.partial(running.cancel))
    await running


if __name__ == "__main__":
    main()
