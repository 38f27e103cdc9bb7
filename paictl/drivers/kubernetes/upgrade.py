"""A request that goes on as a WebSocket: asked for until the API server agrees, or told why it does not. Used by ``websocket``."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.troubles import ApiError, declined, unreachable
from paictl.drivers.kubernetes.versions import too_old
from paictl.errors import PaictlError, Unreachable

if TYPE_CHECKING:
    from websockets.client import ClientProtocol
    from websockets.http11 import Response

__all__ = ["upgraded"]

_PIECE = 32 * 1024
# More than any API server sends in one message; what is larger is no message of theirs.
_LONGEST = 64 << 20
_PATIENCE_SECONDS, _PAUSE_SECONDS = 20.0, 0.5
_PASSING = frozenset({429, 502, 503, 504})
# What these mean is the same for every version.
_CLEAR = frozenset({401, 403, 404, 409, 429})


def upgraded(
    connection: Connection, path: str, what: str, protocol: str, query: Mapping[str, object]
) -> tuple[socket.socket, ClientProtocol]:
    """The connection, and the state of what it speaks; raises ``ApiError``, ``Unreachable``, ``Unavailable`` for an old cluster."""
    deadline, renewed = time.monotonic() + _PATIENCE_SECONDS, False
    target = f"{path}?{urlencode(query, doseq=True)}"
    while True:
        try:
            return _asked(connection, target, what, protocol)
        except ApiError as no:
            # Nothing has begun there yet, so that it may be asked for again.
            pause = max(no.after, _PAUSE_SECONDS)
            if no.status not in _PASSING or time.monotonic() + pause > deadline:
                raise
            time.sleep(pause)
        except Unreachable:
            if renewed or not connection.renew():
                raise
            renewed = True


def _asked(connection: Connection, target: str, what: str, protocol: str) -> tuple[socket.socket, ClientProtocol]:
    from websockets.client import ClientProtocol
    from websockets.typing import Subprotocol
    from websockets.uri import parse_uri

    stream, place, headers = connection.dial()
    try:
        uri = parse_uri(f"ws://{place}{target}")
        speaking = ClientProtocol(uri, subprotocols=[Subprotocol(protocol)], max_size=_LONGEST)
        request = speaking.connect()
        request.headers.update(headers)
        speaking.send_request(request)
        answer = _answer(stream, speaking)
        if speaking.handshake_exc is None and speaking.subprotocol == protocol:
            return stream, speaking
    except OSError as error:
        stream.close()
        cluster = connection.cluster
        raise unreachable(error, cluster.server, cluster.context) from error
    except BaseException:
        stream.close()
        raise
    stream.close()
    raise _declined(connection, answer, what, str(speaking.handshake_exc or "it chose another protocol"))


def _answer(stream: socket.socket, speaking: ClientProtocol) -> Response:
    """What the other side answered; frames that came behind it stay where they are. Raises ``OSError`` for no answer of HTTP."""
    from websockets.http11 import Response

    for piece in speaking.data_to_send():
        stream.sendall(piece)
    while not speaking.events and speaking.handshake_exc is None:
        content = stream.recv(_PIECE)
        if content:
            speaking.receive_data(content)
        else:
            speaking.receive_eof()
    answer = speaking.events.pop(0) if speaking.events else None
    if not isinstance(answer, Response):
        raise ConnectionError("it closed the connection instead of an answer")
    return answer


def _declined(connection: Connection, answer: Response, what: str, reason: str) -> PaictlError:
    if answer.status_code not in _CLEAR:
        # An old one has no word for what it was asked for.
        old = too_old(connection)
        if old is not None:
            return old
    if answer.status_code < HTTPStatus.BAD_REQUEST:
        return PaictlError(
            f"the cluster does not go on over a WebSocket while {what}: {reason}",
            help="A proxy or load balancer before its API server may not let WebSockets through.",
        )
    return declined(answer.status_code, bytes(answer.body), what, dict(answer.headers.raw_items()))
