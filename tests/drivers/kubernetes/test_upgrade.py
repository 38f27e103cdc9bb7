from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.execution import run
from paictl.engine.driver import RoomResult
from paictl.errors import PaictlError, Unavailable, Unreachable
from tests.kubernetes.access import kubeconfig

_POD = {"metadata": {"name": "gateway-0", "namespace": "atlas"}}
_PROTOCOL = Subprotocol("v5.channel.k8s.io")
_SUCCESS = b'\x03{"status":"Success"}'

_Talk = Callable[[ServerConnection], None]
_Run = Callable[..., RoomResult]


def _said(status: int, body: str, **headers: str) -> Response:
    told = Headers({"Content-Length": str(len(body)), "Connection": "close", **headers})
    return Response(status, HTTPStatus(status).phrase, told, body.encode())


def _refused(status: int, message: str) -> Response:
    return _said(status, json.dumps({"kind": "Status", "message": message, "reason": HTTPStatus(status).phrase}))


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Run:
    """Runs a command on an API server of that version, which gives ``answers`` before it agrees, and then talks."""

    @contextmanager
    def server(minor: str, answers: list[Response], talk: _Talk, protocols: list[Subprotocol] | None) -> Iterator[int]:
        def answer(_: ServerConnection, request: Request) -> Response | None:
            if request.path == "/version":
                return _said(200, json.dumps({"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.4"}))
            return answers.pop(0) if answers else None

        with serve(talk, "127.0.0.1", 0, subprotocols=protocols, process_request=answer) as standing:
            threading.Thread(target=standing.serve_forever, daemon=True).start()
            yield standing.socket.getsockname()[1]

    def run_there(
        talk: _Talk = lambda _: None,
        *answers: Response,
        minor: str = "37",
        protocols: list[Subprotocol] | None = [_PROTOCOL],  # noqa: B006 - never changed
    ) -> RoomResult:
        with server(minor, list(answers), talk, protocols) as port:
            config = tmp_path / "kubeconfig"
            kubeconfig(config, f"http://127.0.0.1:{port}", "", "a-token")
            monkeypatch.setenv("KUBECONFIG", str(config))
            return run(Connection(), _POD, "gateway", ["cat"], b"hello", timeout=10)

    return run_there


def _told(failed: pytest.ExceptionInfo[PaictlError]) -> str:
    return f"{failed.value.summary}\n{failed.value.help}"


def test_a_cluster_that_is_too_old_for_it_is_told_by_its_version(ran: _Run) -> None:
    with pytest.raises(Unavailable, match=r"Kubernetes v1\.29\.4, which is too old"):
        ran(lambda _: None, _said(400, "unable to upgrade: unsupported protocol"), minor="29")
    with pytest.raises(Unavailable, match=r"v1\.28\.4"):
        ran(minor="28", protocols=None)


def test_what_stands_between_and_lets_no_websocket_through_is_told(ran: _Run) -> None:
    with pytest.raises(PaictlError) as failed:
        ran(lambda _: None, _said(200, "<html>welcome</html>"))
    assert "does not go on over a WebSocket while starting cat in gateway-0" in _told(failed)
    assert "A proxy or load balancer" in _told(failed)


def test_a_right_that_lacks_is_told_with_the_line_of_its_role(ran: _Run) -> None:
    message = 'pods "gateway-0" is forbidden: User "me" cannot create resource "pods/exec" in API group "" in the namespace "atlas"'
    with pytest.raises(PaictlError) as failed:
        ran(lambda _: None, _refused(403, message))
    assert '- {apiGroups: [""], resources: ["pods/exec"], verbs: ["create"]}' in _told(failed)


def test_one_that_is_overloaded_is_asked_again(ran: _Run) -> None:
    done = ran(_echo, _said(429, "later"), _said(503, "later", **{"Retry-After": "0"}))
    assert (done.code, done.stdout) == (0, b"hello")


def _echo(client: ServerConnection) -> None:
    """In pieces, with pings between them."""
    assert client.request is not None
    assert client.request.headers["Authorization"] == "Bearer a-token"
    content = b""
    for message in client:
        if message == b"\xff\x00":
            break
        assert isinstance(message, bytes)
        content += message[1:]
    client.ping()
    client.send([b"\x01", content[:2], content[2:]])
    client.ping()
    client.send(b"\x01")
    client.send(_SUCCESS)


def test_a_connection_that_breaks_off_is_told_unless_the_command_had_ended(ran: _Run) -> None:
    with pytest.raises(Unreachable, match="the connection broke off while cat ran"):
        ran(lambda client: client.socket.close())

    def ends(client: ServerConnection) -> None:
        client.send(_SUCCESS)
        client.socket.close()

    assert ran(ends).code == 0


@pytest.mark.parametrize("seed", range(40))
def test_no_answer_makes_more_of_it_than_an_error(ran: _Run, seed: int) -> None:
    chance = random.Random(seed)

    def talk(client: ServerConnection) -> None:
        with suppress(OSError):
            client.socket.sendall(_noise(chance))
        client.socket.close()

    with suppress(PaictlError):
        assert isinstance(ran(talk).code, int)


def _noise(chance: random.Random) -> bytes:
    """Frames as they could come, of which some bytes are others, and which end anywhere."""
    content = bytearray()
    for _ in range(chance.randrange(1, 6)):
        opcode = chance.choice([*Opcode])
        data = chance.choice([b"", _SUCCESS, b"\x01" + chance.randbytes(chance.choice([1, 200, 70_000]))])
        limited = data[:125] if opcode >= Opcode.CLOSE else data
        content += Frame(opcode, limited, fin=chance.random() < 0.8).serialize(mask=chance.random() < 0.1)
    for _ in range(chance.randrange(4)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content[: chance.choice([len(content), chance.randrange(len(content) + 1)])])
