"""One process, two listeners: builds the door, serves both applications on one event loop, and ends in order on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from paictl.runtime.config import GatewayConfig
from paictl.runtime.gateway import endpoints
from paictl.runtime.gateway.door import AGENT, Door
from paictl.runtime.gateway.guard import Guard, Names
from paictl.runtime.gateway.inner import inner
from paictl.runtime.gateway.outer import outer
from paictl.runtime.gateway.policy import Tokens

__all__ = ["serve"]

_GRACE_SECONDS = 5
# One of several is replaced while others serve: it has the time to end every answer that it began.
_SHARED_GRACE_SECONDS = 60
# Longer than any client keeps an idle connection, so that none sends into one that is being closed.
_IDLE_SECONDS = 75
_CONCURRENCY = 512
_log = logging.getLogger("paictl.gateway")


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handling: two of them would take each other's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(config: GatewayConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``ValueError`` or ``OSError`` when it can't begin."""
    began = time.perf_counter()
    people = Tokens({config.owner: _token(config.token_file)})
    agent = Tokens({AGENT: _token(config.agent_token_file)})
    address = endpoints.parse(config.listen)
    names = Names(address, config.names) if isinstance(address, endpoints.TcpAddress) else None
    sockets = [endpoints.listen(config.listen), endpoints.listen(config.inner)]
    door = Door.build(config)
    await door.open()
    grace = _SHARED_GRACE_SECONDS if config.state else _GRACE_SECONDS
    servers = [
        _server(Guard(outer(door), "outer", people, door.metrics, names), grace),
        _server(Guard(inner(door), "inner", agent, door.metrics, None), grace),
    ]
    _stop_on_signals(servers, door)
    tending = [asyncio.create_task(door.memory.tend()), asyncio.create_task(door.audit.keep_signed())]
    _log.info(
        "%s listens on %s and %s after %.2f s", config.agent, config.listen, config.inner, time.perf_counter() - began
    )
    try:
        await asyncio.gather(
            *(_until_stopped(server, servers, sock) for server, sock in zip(servers, sockets, strict=True))
        )
    finally:
        for task in tending:
            task.cancel()
        await asyncio.wait(tending)
        await door.close()


async def _until_stopped(server: _Server, servers: list[_Server], sock: socket.socket) -> None:
    try:
        await server.serve(sockets=[sock])
    finally:
        # One door without the other is no gateway.
        for other in servers:
            other.should_exit = True


def _server(app: ASGIApp, grace: int) -> _Server:
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONCURRENCY,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=grace,
    )
    return _Server(config)


def _stop_on_signals(servers: list[_Server], door: Door) -> None:
    ending: set[asyncio.Task[None]] = set()

    def stop() -> None:
        ending.add(asyncio.ensure_future(door.work.close()))
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _token(path: str) -> str:
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except OSError as error:
        raise ValueError(
            f"the token file {path} can't be read: {error.strerror}; paictl apply puts it in place"
        ) from error
    if len(token) < 16:
        raise ValueError(f"the token in {path} is shorter than 16 characters; paictl apply makes a new one")
    return token
