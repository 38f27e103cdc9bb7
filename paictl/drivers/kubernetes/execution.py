"""Commands in a pod's container, over the API server's WebSocket: what goes in, what comes out, and how it ended."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.kinds import POD
from paictl.drivers.kubernetes.websocket import Channels
from paictl.engine.driver import RoomResult
from paictl.errors import PaictlError, Unreachable

__all__ = ["run"]

# The first version that can say that the input has ended; clusters speak it since Kubernetes 1.30.
_PROTOCOL = "v5.channel.k8s.io"
_INPUT, _OUTPUT, _ERRORS, _ENDED, _CLOSED = 0, 1, 2, 3, 255
_SECONDS = 600.0
# Enough to keep the way busy, little enough to hold in memory.
_AHEAD = 1 << 20


def run(
    connection: Connection,
    pod: Json,
    container: str,
    argv: Sequence[str],
    stdin: bytes | Iterable[bytes] = b"",
    *,
    timeout: float = _SECONDS,
) -> RoomResult:
    """Run a command to its end, with ``stdin`` as all of its input; raises ``PaictlError`` when it takes longer than that."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    asked: dict[str, Any] = {"command": list(argv), "container": container}
    asked |= {"stdin": "true", "stdout": "true", "stderr": "true"}
    what = f"starting {argv[0]} in {name}"
    pieces = iter([stdin] if isinstance(stdin, bytes) else stdin)
    with Channels(connection, f"{POD.path(namespace, name)}/exec", what, _PROTOCOL, **asked) as channels:
        return _result(channels, argv[0], pieces, time.monotonic() + timeout)


def _result(channels: Channels, program: str, pieces: Iterator[bytes], deadline: float) -> RoomResult:
    output, ended, feeding = {_OUTPUT: bytearray(), _ERRORS: bytearray()}, bytearray(), True
    try:
        while not channels.ended:
            # A command may end without having read everything: then its output and exit code tell.
            if feeding and channels.unsent < _AHEAD:
                feeding = _feed(channels, pieces)
            _turn(channels, deadline, more=feeding)
            for channel, content in channels.take():
                if channel in output:
                    output[channel] += content
                elif channel == _ENDED:
                    ended += content
    except TimeoutError as error:
        raise PaictlError(
            f"{program} did not end in time", help="Its connection was closed. What it had done by then stands."
        ) from error
    except OSError as error:
        if not ended:
            raise Unreachable(
                f"the connection broke off while {program} ran: {error}", help="Run the same command again."
            ) from error
    return RoomResult(_code(bytes(ended), program), bytes(output[_OUTPUT]), bytes(output[_ERRORS]))


def _feed(channels: Channels, pieces: Iterator[bytes]) -> bool:
    """Have the next piece sent, or the end of them; whether there may be more."""
    piece = next(pieces, None)
    if piece is None:
        channels.put(_CLOSED, bytes([_INPUT]))
    elif piece:
        channels.put(_INPUT, piece)
    return piece is not None


def _turn(channels: Channels, deadline: float, *, more: bool) -> None:
    """Send what goes, and wait until something has come or ``more`` can go; raises ``TimeoutError``."""
    with suppress(OSError):  # what comes tells more
        channels.flush()
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    at_once = channels.ready or (more and channels.unsent < _AHEAD)
    writing = [channels.stream] if channels.unsent else []
    select.select([channels.stream], writing, [], 0 if at_once else left)


def _code(ended: bytes, program: str) -> int:
    """The exit code, as the kubelet tells it."""
    try:
        status = json.loads(ended or b"{}")
    except ValueError:
        status = {"message": ended.decode("utf-8", "replace")}
    if status.get("status") == "Success":
        return 0
    causes = (status.get("details") or {}).get("causes") or ()
    for cause in causes:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    said = " ".join(str(status.get("message", "it ended without a word")).split())
    raise PaictlError(f"{program} could not be run: {said}", help="`paictl status` tells whether its service runs.")
