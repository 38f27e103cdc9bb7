from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from paictl.drivers.docker import logs
from paictl.drivers.docker.connection import Connection, connect
from paictl.drivers.docker.relay import relay
from tests.docker.conftest import Reached
from tests.docker.trial import SERVE, running, started
from tests.docker.ways import lacking_ssh, ssh_server, with_ssh_config
from tests.waiting import until

pytestmark = pytest.mark.docker

_PORT = 8123
# Answers only after the end of what it was sent.
_AFTER_THE_END = """
import socket
with socket.create_server(("127.0.0.1", 8123)) as server:
    while True:
        client, _ = server.accept()
        with client:
            content = b""
            while piece := client.recv(65536):
                content += piece
            client.sendall(content[::-1])
"""
_RELAY = """
import sys
from paictl.drivers.docker.connection import connect
from paictl.drivers.docker.relay import relay
with relay(connect(), sys.argv[1], 8123) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def connection(engine: Reached, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    made = connect()
    yield made
    made.close()


@pytest.fixture
def server(connection: Connection) -> Iterator[str]:
    with running(connection, ["python3", "-uc", SERVE], network_mode="none", cap_drop=["ALL"], read_only=True) as made:
        yield made


def _relays(connection: Connection, container: str) -> int:
    return sum("sys.argv[1]" in line[-1] for line in connection.api.top(container)["Processes"])


def _none_left(connection: Connection, container: str) -> None:
    until(lambda: _relays(connection, container) == 0, "an end of the programs in the container")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/three", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_port_inside_is_reached_at_a_local_address_only_while_the_block_runs(
    connection: Connection, server: str
) -> None:
    with relay(connection, server, _PORT) as url:
        assert urlsplit(url).hostname == "127.0.0.1"
        until(lambda: _answers(url), "an answer")
        content = bytes(range(256)) * 4096
        assert httpx.post(url, content=content, timeout=30).content == content
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: httpx.post(url, content=b"x", timeout=30).content, range(8))) == {b"x"}
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    _none_left(connection, server)


def test_a_stream_arrives_as_it_is_written(connection: Connection, server: str) -> None:
    with relay(connection, server, _PORT) as url:
        until(lambda: _answers(url), "an answer")
        with httpx.stream("GET", f"{url}/three", timeout=30) as answer:
            arrived = [time.monotonic() for line in answer.iter_lines() if line]
        assert len(arrived) == 3
        assert (
            arrived[2] - arrived[0] > 0.3
        )  # written 0.4 s apart; at once is what a buffer in between would make of it


def test_the_end_of_what_is_sent_arrives_and_the_answer_after_it_comes_back(connection: Connection) -> None:
    with (
        running(connection, ["python3", "-c", _AFTER_THE_END]) as container,
        relay(connection, container, _PORT) as url,
    ):
        content = bytes(range(256)) * 8192

        def turned() -> bool:
            try:
                with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), 30) as client:
                    threading.Thread(target=_send_all, args=(client, content)).start()
                    received = b""
                    while piece := client.recv(65536):
                        received += piece
            except ConnectionError:
                return False
            return received == content[::-1]

        until(turned, "the answer")
        _none_left(connection, container)


def _send_all(client: socket.socket, content: bytes) -> None:
    client.sendall(content)
    client.shutdown(socket.SHUT_WR)


def test_a_client_that_goes_away_ends_what_it_asked_for(connection: Connection, server: str) -> None:
    with relay(connection, server, _PORT) as url:
        until(lambda: _answers(url), "an answer")
        with httpx.stream("GET", f"{url}/forever", timeout=30) as answer:
            next(answer.iter_lines())
        _none_left(connection, server)
        until(lambda: "gone" in logs.last_lines(connection, server, 5), "the server to see its client go")


def test_nothing_of_it_outlives_the_process_that_was_killed(connection: Connection, server: str) -> None:
    with started(_RELAY, server) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        until(lambda: _answers(url), "an answer")
        with httpx.stream("GET", f"{url}/forever", timeout=30) as answer:
            next(answer.iter_lines())
            assert _relays(connection, server) == 1
            process.kill()
            _none_left(connection, server)


@pytest.mark.slow
@pytest.mark.skipif(bool(lacking_ssh()), reason=lacking_ssh())
def test_it_works_through_ssh(engine: Reached, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ssh_server(tmp_path, engine.host) as address:
        with_ssh_config(tmp_path, monkeypatch)
        monkeypatch.setenv("DOCKER_HOST", address)
        connection = connect()
        with relay(connection, server, _PORT) as url:
            until(lambda: _answers(url), "an answer")
            assert httpx.post(url, content=b"x" * 1_000_000, timeout=30).content == b"x" * 1_000_000
        connection.close()
