from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from paictl.runtime.gateway.endpoints import TcpAddress
from paictl.runtime.gateway.guard import Names
from tests.runtime.gateway.conftest import StartGateway
from tests.runtime.gateway.gatewayprocess import AGENT_TOKEN, OWNER_TOKEN, GatewayProcess
from tests.runtime.gateway.upstream import eventually

GUARDED = [
    ("GET", "/metrics"),
    ("GET", "/status"),
    ("GET", "/v1/models"),
    ("POST", "/v1/chat/completions"),
    ("DELETE", "/v1/sessions/s1"),
    ("POST", "/workflows/w/runs"),
    ("GET", "/workflows/w/runs"),
    ("GET", "/no/such/path"),
]
INNER = [
    ("POST", "/agent/hello"),
    ("GET", "/agent/work"),
    ("POST", "/agent/work/x/reply"),
    ("POST", "/agent/runs"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/memory/remember"),
    ("POST", "/memory/recall"),
    ("POST", "/memory/forget"),
    ("GET", "/healthz"),
]


@pytest.mark.promise(28)
def test_every_path_of_both_doors_needs_its_own_token(gateway: GatewayProcess) -> None:
    wrong = [
        "",
        f"Bearer {AGENT_TOKEN}",
        f"Bearer {OWNER_TOKEN}x",
        f"Bearer {OWNER_TOKEN[:-1]}",
        f"Basic {OWNER_TOKEN}",
        "Bearer",
    ]
    with httpx.Client(base_url=gateway.url, trust_env=False) as person:
        for method, path in GUARDED:
            for header in wrong:
                response = person.request(method, path, headers={"Authorization": header})
                assert response.status_code == 401, (method, path, header)
                assert response.json()["error"]["code"] == "invalid_token"
        for path in ("/healthz", "/readyz"):
            assert person.get(path).status_code in {200, 503}
        assert person.get("/healthz").json() == {"status": "ok", "agent": "atlas", "release": gateway.config["release"]}
    with gateway.agent(Authorization=f"Bearer {OWNER_TOKEN}") as agent:
        for method, path in INNER:
            assert agent.request(method, path).status_code == 401, path


@pytest.mark.promise(28)
@pytest.mark.parametrize("path", ["/healthz", "/v1/models"])
def test_a_wrong_host_is_refused(gateway: GatewayProcess, path: str) -> None:
    hosts = {
        f"127.0.0.1:{gateway.port}": 200,
        f"localhost:{gateway.port}": 200,
        f"[::1]:{gateway.port}": 200,
        "evil.example": 403,
        f"evil.example:{gateway.port}": 403,
        # Where a port of another machine is forwarded to ours.
        f"127.0.0.1:{gateway.port + 1}": 200,
        f"192.0.2.7:{gateway.port}": 403,
        f"127.0.0.1.evil.example:{gateway.port}": 403,
        f"user@127.0.0.1:{gateway.port}": 403,
        "127.0.0.1:port": 403,
        "": 403,
    }
    with gateway.person() as person:
        answers = {host: person.get(path, headers={"Host": host}).status_code for host in hosts}
    assert answers == hosts


@pytest.mark.promise(28)
def test_a_request_without_a_host_is_refused(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), 5) as raw:
        raw.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b" 403 " in raw.recv(4096).split(b"\r\n")[0]


@pytest.mark.promise(28)
def test_a_page_of_another_origin_is_refused(gateway: GatewayProcess) -> None:
    origins = {
        f"http://127.0.0.1:{gateway.port}": 200,
        f"http://localhost:{gateway.port}": 200,
        "http://evil.example": 403,
        f"http://evil.example:{gateway.port}": 403,
        "http://127.0.0.1:1": 403,
        "null": 403,
        "file://": 403,
    }
    with gateway.person() as person:
        answers = {origin: person.get("/v1/models", headers={"Origin": origin}).status_code for origin in origins}
    assert answers == origins


@pytest.mark.promise(28)
def test_behind_a_forwarded_port_only_its_own_pages_may_call(gateway: GatewayProcess) -> None:
    forwarded = f"127.0.0.1:{gateway.port + 1}"
    origins = {f"http://{forwarded}": 200, f"http://127.0.0.1:{gateway.port + 2}": 403, "http://evil.example": 403}
    with gateway.person() as person:
        answers = {
            origin: person.get("/v1/models", headers={"Host": forwarded, "Origin": origin}).status_code
            for origin in origins
        }
    assert answers == origins


@pytest.mark.promise(28)
def test_nothing_but_loopback_is_listened_on(gateway: GatewayProcess) -> None:
    assert gateway.process is not None
    listening = [c.laddr for c in psutil.Process(gateway.process.pid).net_connections("inet") if c.status == "LISTEN"]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", gateway.port)]
    assert (gateway.root / "run" / "inner.sock").stat().st_mode & 0o777 == 0o600


def test_a_gateway_on_every_interface_takes_addresses_but_no_names() -> None:
    known = Names(TcpAddress("0.0.0.0", 8700)).answers_to
    assert known("192.0.2.7:18700")
    assert known("[2001:db8::1]:8700")
    assert known("localhost:8700")
    assert not known("evil.example:8700")


def test_a_name_that_leads_to_the_gateway_is_one_of_its_own_on_any_port() -> None:
    for address in (TcpAddress("0.0.0.0", 8700), TcpAddress("127.0.0.1", 8700)):
        known = Names(address, ["atlas.example.org"]).answers_to
        assert known("atlas.example.org")
        assert known("ATLAS.example.org:8443")
        assert not known("other.example.org")
        assert not known("atlas.example.org.evil.example")


def test_the_agents_token_opens_nothing_outside_and_the_owners_nothing_inside(gateway: GatewayProcess) -> None:
    with gateway.person() as person, gateway.agent() as agent:
        assert person.get("/v1/models").json()["data"][0]["id"] == "atlas"
        assert person.post("/memory/recall", json={"query": "x"}).status_code == 404
        assert agent.get("/status").status_code == 404


def test_a_port_that_is_taken_is_named_and_nothing_starts(start_gateway: StartGateway) -> None:
    gateway = start_gateway(run=False)
    with socket.create_server(("127.0.0.1", gateway.port)):
        gateway.launch()
        assert gateway.process is not None
        assert gateway.process.wait(30) == 1
    assert "Address already in use" in gateway.log
    assert "Traceback" not in gateway.log
    assert not gateway.data.exists()


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (lambda root: (root / "secrets" / "gateway-token").unlink(), "secrets/gateway-token can't be read"),
        (lambda root: (root / "secrets" / "agent-token").write_text("short"), "shorter than 16"),
        (lambda root: (root / "config" / "gateway.json").write_text("{}"), "agent"),
    ],
)
def test_what_keeps_it_from_starting_is_one_message(start_gateway: StartGateway, breaks: object, said: str) -> None:
    gateway = start_gateway(run=False)
    gateway.launch()
    eventually(gateway.answers)
    gateway.stop()
    for name in ("gateway-token", "agent-token"):
        (gateway.root / "secrets" / name).chmod(0o600)
    assert callable(breaks)
    breaks(gateway.root)
    done = subprocess.run(
        [sys.executable, "-m", "paictl.runtime.gateway", "--root", gateway.root, "--config", "config/gateway.json"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_it_ends_in_order_on_a_signal_also_with_a_poll_open(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent, gateway.agent() as other, gateway.person() as person:
        other.post("/agent/hello", json={})
        polling = threading.Thread(target=lambda: _quietly(agent))
        polling.start()
        eventually(lambda: "paictl_agent_ready 1" in person.get("/metrics").text)
        process = gateway.process
        assert process is not None
        process.terminate()
        assert process.wait(20) == 0  # the poll would last 30
        polling.join(5)
    assert "Traceback" not in gateway.log


def test_it_starts_within_a_second_and_idles_below_ninety_megabytes(gateway: GatewayProcess) -> None:
    assert gateway.process is not None
    process = psutil.Process(gateway.process.pid)
    assert process.memory_info().rss < 90 * 2**20
    assert sum(process.cpu_times()[:2]) < 1.5


def _quietly(agent: httpx.Client) -> None:
    try:
        agent.get("/agent/work", params={"wait": "30"})
    except httpx.HTTPError:
        return
