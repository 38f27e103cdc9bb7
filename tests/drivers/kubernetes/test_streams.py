from __future__ import annotations

import os
from typing import Any

import httpx
import pytest

from paictl.drivers.kubernetes import pods
from paictl.drivers.kubernetes.execution import run
from paictl.drivers.kubernetes.forwarding import forward
from paictl.errors import PaictlError
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]


def test_commands_and_ports_of_a_pod_are_reached_through_the_api_server(stack: Stack, reconciler: Reconciling) -> None:
    reconciler().apply(wanting([stack.service("Deployment", "outer")]))
    connection = stack.driver().connection
    marks = {"app.kubernetes.io/instance": stack.agent, "app.kubernetes.io/component": "outer"}

    def pod() -> Any:
        return pods.serving(pods.of_selector(connection, stack.namespace, marks))

    sent = os.urandom(700_000)
    echoed = run(connection, pod(), "outer", ["cat"], sent)
    assert (echoed.code, echoed.stdout, echoed.stderr) == (0, sent, b"")
    ended = run(connection, pod(), "outer", ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (ended.code, ended.stdout, ended.stderr) == (7, b"out\n", b"err\n")
    with pytest.raises(PaictlError, match="nowhere could not be run"):
        run(connection, pod(), "outer", ["nowhere"])
    serve = "mkdir -p /tmp/web; yes hello | head -c 600000 >/tmp/web/big; httpd -p 8080 -h /tmp/web"
    assert run(connection, pod(), "outer", ["sh", "-c", serve.replace("| head -c 600000", "| timeout 1 cat")]).code in {
        0,
        143,
    }
    with forward(connection, pod, 8080) as url, httpx.Client(trust_env=False) as client:
        first = client.get(f"{url}/big", timeout=60)
        assert first.status_code == 200
        assert first.content[:6] == b"hello\n"
        assert client.get(f"{url}/none").status_code == 404
