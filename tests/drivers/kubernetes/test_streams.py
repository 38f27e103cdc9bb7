from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from paictl.drivers.kubernetes import pods
from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.execution import run
from paictl.drivers.kubernetes.forwarding import forward
from paictl.errors import PaictlError
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting
from tests.waiting import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

_PORT = 8080
# A web server: a page of 600 kB, an answer that counts what it was sent, and one that comes a word a second.
_WEB = r"""
mkdir -p /tmp/web/cgi-bin
head -c 600000 /dev/urandom >/tmp/web/big
printf '#!/bin/sh\nprintf "\\r\\n"; wc -c\n' >/tmp/web/cgi-bin/count
printf '#!/bin/sh\nprintf "\\r\\n"; for word in one two three four five six; do echo $word; sleep 1; done\n' >/tmp/web/cgi-bin/slow
chmod +x /tmp/web/cgi-bin/*
touch /tmp/ready
echo "$SAY"
exec httpd -f -p 8080 -h /tmp/web
"""


class _Web:
    """The pod of a small web server, and what is done with it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.connection: Connection = stack.driver().connection

    def pod(self) -> Any:
        marks = {"app.kubernetes.io/instance": self.stack.agent, "app.kubernetes.io/component": "outer"}
        found = pods.serving(pods.of_selector(self.connection, self.stack.namespace, marks))
        if found is None:
            raise PaictlError("outer is not running here")
        return found

    def run(self, *argv: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        done = run(self.connection, self.pod(), "outer", argv, stdin)
        return done.code, done.stdout, done.stderr


@pytest.fixture
def web(stack: Stack, reconciler: Reconciling) -> _Web:
    reconciler().apply(wanting([stack.service("Deployment", "outer", command=["/bin/sh", "-c", _WEB])]))
    return _Web(stack)


def test_commands_and_ports_of_a_pod_are_reached_through_the_api_server(web: _Web) -> None:
    _commands(web)
    before = threading.active_count()
    with forward(web.connection, web.pod, _PORT) as url, httpx.Client(base_url=url, trust_env=False) as client:
        _large_bodies(web, client)
        _many_at_once(url)
        _words_as_they_come(client)
        _who_has_said_all(url)
        _who_goes_away(web, url)
        _successor(web, client)
    until(lambda: threading.active_count() <= before, "the end of what served the connections", 5)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/big", trust_env=False)


def _commands(web: _Web) -> None:
    sent = os.urandom(700_000)
    assert web.run("cat", stdin=sent) == (0, sent, b"")
    assert web.run("sh", "-c", "echo out; echo err >&2; exit 7") == (7, b"out\n", b"err\n")
    with pytest.raises(PaictlError, match="nowhere could not be run"):
        web.run("nowhere")
    with pytest.raises(PaictlError, match="sleep did not end in time"):
        run(web.connection, web.pod(), "outer", ["sleep", "60"], timeout=1)


def _large_bodies(web: _Web, client: httpx.Client) -> None:
    assert client.get("/big").content == web.run("cat", "/tmp/web/big")[1]
    body = os.urandom(3_000_000)
    assert client.post("/cgi-bin/count", content=body, timeout=30).text.strip() == str(len(body))
    assert client.get("/none").status_code == 404


def _many_at_once(url: str) -> None:
    with ThreadPoolExecutor(24) as several:
        told = several.map(lambda _: httpx.get(f"{url}/big", trust_env=False, timeout=30).content, range(24))
        assert {len(one) for one in told} == {600_000}


def _words_as_they_come(client: httpx.Client) -> None:
    begun = time.monotonic()
    with client.stream("GET", "/cgi-bin/slow") as answer:
        assert next(answer.iter_lines()) == "one"
    assert time.monotonic() - begun < 3  # the last comes after five


def _connected(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), 30)


def _who_has_said_all(url: str) -> None:
    with _connected(url) as client:
        client.sendall(b"GET /cgi-bin/slow HTTP/1.0\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: client.recv(4096), b"")).split()[-2:] == [b"five", b"six"]


def _who_goes_away(web: _Web, url: str) -> None:
    with _connected(url) as client:
        client.sendall(b"GET /cgi-bin/slow HTTP/1.0\r\n\r\n")
        client.recv(4096)
    # Before it would have ended by itself.
    until(lambda: not _answering(web), "the end of the answer that nobody hears", 4)


def _answering(web: _Web) -> bool:
    return b"/slow" in web.run("sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null")[1]


def _successor(web: _Web, client: httpx.Client) -> None:
    """A kept connection to the pod before is given up, and a new one waits for the next."""
    assert client.get("/none").status_code == 404
    here = f"--namespace={web.stack.namespace}"
    name = web.pod()["metadata"]["name"]
    web.stack.access.kubectl(here, "delete", "pod", name, "--grace-period=0", "--force")
    until(lambda: not web.stack.access.kubectl(here, "get", "pod", name, "--ignore-not-found"), "the pod's end", 30)
    assert len(client.get("/big", timeout=30).content) == 600_000
    assert web.pod()["metadata"]["name"] != name
