"""Commands in a pod's container, over the API server's WebSocket: what goes in, what comes out, and how it ended."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Sequence
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
    with Channels(connection, f"{POD.path(namespace, name)}/exec", what, _PROTOCOL, **asked) as channels:
        pieces = [stdin] if isinstance(stdin, bytes) else stdin
        sender = threading.Thread(target=_send, args=(channels, pieces), daemon=True)
        sender.start()
        return _result(channels, argv[0], time.monotonic() + timeout)


def _send(channels: Channels, pieces: Iterable[bytes]) -> None:
    # A command may end without having read everything: then its output and exit code tell, not the broken connection.
    with suppress(OSError):
        for piece in pieces:
            if piece:
                channels.send(_INPUT, piece)
        channels.send(_CLOSED, bytes([_INPUT]))


def _result(channels: Channels, program: str, deadline: float) -> RoomResult:
    output, ended = {_OUTPUT: bytearray(), _ERRORS: bytearray()}, b""
    late = PaictlError(
        f"{program} did not end in time", help="Its connection was closed. What it had done by then stands."
    )
    try:
        for channel, content in channels.receive(max(0.1, deadline - time.monotonic())):
            if channel in output:
                output[channel] += content
            elif channel == _ENDED:
                ended += content
            if time.monotonic() > deadline:
                raise late
    except TimeoutError as error:
        raise late from error
    except OSError as error:
        if not ended:
            raise Unreachable(
                f"the connection broke off while {program} ran", help="Run the same command again."
            ) from error
    return RoomResult(_code(ended, program), bytes(output[_OUTPUT]), bytes(output[_ERRORS]))


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
