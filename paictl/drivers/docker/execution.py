"""Runs commands in containers that run, with input over a stream: what is secret stands in no argument and no environment.

Used by what fills secrets, by ``run_in_room`` and by ``relay``. The engine starts such a command with the container's own
confinement: its capabilities, no-new-privileges, read-only root, seccomp, namespaces and cgroup.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.troubles import refused
from paictl.engine.driver import RoomResult
from paictl.errors import PaictlError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Frames", "Running", "begin", "run"]

_SECONDS = 120.0
_CHUNK = 64 * 1024
_SETTLE_SECONDS = 10.0
_POLL_SECONDS = 0.02
_NOT_STARTED = {126, 127}
_RUNTIME = b"OCI runtime exec failed: "
_MARK = "PAICTL_EXEC"
# The engine can't end such a command; its mark in the environment tells which processes are meant.
_END = 'for p in /proc/[0-9]*; do if grep -qs "$0" "$p/environ"; then kill -9 "${p#/proc/}"; fi; done'


@dataclass(frozen=True, slots=True)
class Running:
    """A command that was started: its connection, what already came in on it, and its id at the engine."""

    stream: socket.socket
    arrived: bytes
    id: str


class Frames:
    """Takes a stream of the engine apart: each frame is one byte of 1 (output) or 2 (errors), three of 0, a length, content."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        """The whole frames that are there now."""
        self._rest += content
        while len(self._rest) >= 8:
            kind, length = struct.unpack(">BxxxL", self._rest[:8])
            if len(self._rest) < 8 + length:
                return
            content = bytes(self._rest[8 : 8 + length])
            del self._rest[: 8 + length]
            yield kind, content


def begin(
    connection: Connection,
    container_id: str,
    argv: Sequence[str],
    *,
    user: str = "",
    environment: Mapping[str, str] | None = None,
) -> Running:
    """Start a command with its three streams connected; whoever calls closes the connection."""
    with connection.told(f"starting {argv[0]} in a container"):
        made = connection.post(
            f"/containers/{container_id}/exec",
            {
                "Cmd": list(argv),
                "AttachStdin": True,
                "AttachStdout": True,
                "AttachStderr": True,
                "User": user,
                "Env": [f"{key}={value}" for key, value in (environment or {}).items()],
            },
        )
        stream, arrived = connection.hijack(f"/exec/{made['Id']}/start", {"Tty": False, "Detach": False})
        return Running(stream, arrived, str(made["Id"]))


def run(  # noqa: PLR0913 - the words of `docker exec`
    connection: Connection,
    container_id: str,
    argv: Sequence[str],
    stdin: bytes = b"",
    *,
    user: str = "",
    environment: Mapping[str, str] | None = None,
    timeout: float = _SECONDS,
) -> RoomResult:
    """Run a command to its end, with ``stdin`` as all of its input; raises ``PaictlError`` when it takes longer than that."""
    deadline = time.monotonic() + timeout
    mark = uuid.uuid4().hex
    running = begin(connection, container_id, argv, user=user, environment={**(environment or {}), _MARK: mark})
    with running.stream, connection.told(f"{argv[0]} ran in a container"):
        with _ended(connection, container_id, mark, user):
            output = _exchange(running, stdin, deadline)
            if output is None:
                raise PaictlError(
                    f"{argv[0]} did not end within {timeout:g} s",
                    help="It was stopped. What it had done by then stands.",
                )
        code = _code(connection, running.id)
        if code in _NOT_STARTED and output[1].startswith(_RUNTIME):
            # Engines before 23 tell it in the command's own output, later ones by a status.
            raise refused(400, output[1].decode("utf-8", "replace"), f"starting {argv[0]} in a container")
        return RoomResult(code, bytes(output[1]), bytes(output[2]))


def _exchange(running: Running, stdin: bytes, deadline: float) -> dict[int, bytearray] | None:
    """Both directions at once, or a full pipe would block both ends; None when the deadline came first."""
    stream, rest = running.stream, memoryview(stdin)
    output, frames = {1: bytearray(), 2: bytearray()}, Frames()
    stream.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ | selectors.EVENT_WRITE)
        arrived: bytes | None = running.arrived
        while True:
            for kind, content in frames.feed(arrived or b""):
                output[kind] += content
            arrived = None
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            if ready[0][1] & selectors.EVENT_WRITE:
                rest = _send(stream, rest)
                if not rest:
                    selector.modify(stream, selectors.EVENT_READ)
            if ready[0][1] & selectors.EVENT_READ:
                arrived = stream.recv(_CHUNK)
                if not arrived:
                    return output


def _send(stream: socket.socket, rest: memoryview) -> memoryview:
    with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
        # A command may end without having read everything: then its output and exit code tell, not the broken pipe.
        rest = rest[stream.send(rest[:_CHUNK]) :] if rest else rest
        if rest:
            return rest
        stream.shutdown(socket.SHUT_WR)
    return rest[:0]


@contextmanager
def _ended(connection: Connection, container_id: str, mark: str, user: str) -> Iterator[None]:
    """Nothing is left behind in the container when the caller gives up or is interrupted."""
    try:
        yield
    except BaseException:
        with suppress(Exception):  # the container may be gone, or have no shell; the first error is the one to tell
            command = ["sh", "-c", _END, f"{_MARK}={mark}"]
            made = connection.api.exec_create(container_id, command, user=user)
            connection.api.exec_start(made["Id"], detach=True)
        raise


def _code(connection: Connection, exec_id: str) -> int:
    """The exit code; the engine knows it a moment after it closed the streams."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        told = connection.ask(f"/exec/{exec_id}/json")
        if not told["Running"] and told["ExitCode"] is not None:
            return int(told["ExitCode"])
        if time.monotonic() > deadline:
            raise PaictlError("the command closed its output, but goes on", help="Look at it with `docker top`.")
        time.sleep(_POLL_SECONDS)
