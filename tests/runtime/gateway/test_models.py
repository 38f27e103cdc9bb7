from __future__ import annotations

import json
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from paictl.runtime.config import ModelRoute
from paictl.runtime.gateway.egress import redacted_stream
from paictl.runtime.gateway.routing import Choice, choose
from tests.runtime.gateway.conftest import StartGateway
from tests.runtime.gateway.gatewayprocess import GatewayProcess, ScriptedAgent, local_model, say
from tests.runtime.gateway.upstream import Upstream, eventually, running

CANARY = "sk-canary-3b1f9e77c0d54a1b"
ASK = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}


def api_model(endpoint: str, **more: Any) -> dict[str, Any]:
    return {"task": "chat", "endpoint": endpoint, "model": "big", "local": False, "secret": "cloud-key"} | more


def test_the_request_reaches_the_server_with_its_model_name_and_its_tools(
    gateway: GatewayProcess, model: Upstream
) -> None:
    tools = [{"type": "function", "function": {"name": "remember", "parameters": {"type": "object"}}}]
    with gateway.agent() as agent:
        answer = agent.post(
            "/v1/chat/completions", json=ASK | {"tools": tools, "tool_choice": "required", "temperature": 0.1}
        )
    assert answer.json()["choices"][0]["message"]["content"] == "Hello from the model"
    [asked] = model.of("/v1/chat/completions")
    assert asked.body == ASK | {"model": "the-chat", "tools": tools, "tool_choice": "required", "temperature": 0.1}
    assert "authorization" not in asked.headers


def test_llama_cpp_is_told_the_bound_by_the_name_it_knows(gateway: GatewayProcess, model: Upstream) -> None:
    with gateway.agent() as agent:
        agent.post("/v1/chat/completions", json=ASK | {"max_completion_tokens": 7})
    body = model.of("/v1/chat/completions")[0].body
    assert body["max_tokens"] == 7
    assert "max_completion_tokens" not in body


def test_a_stream_is_passed_through_byte_for_byte(gateway: GatewayProcess, model: Upstream) -> None:
    direct = httpx.post(
        f"{model.endpoint}/chat/completions",
        json=ASK | {"model": "the-chat", "stream": True, "stream_options": {"include_usage": True}},
        trust_env=False,
    )
    with gateway.agent() as agent:
        through = agent.post("/v1/chat/completions", json=ASK | {"stream": True})
    assert through.content == direct.content
    assert through.headers["content-type"] == "text/event-stream"


def test_each_piece_of_a_stream_is_passed_on_before_the_next_one_exists(
    gateway: GatewayProcess, model: Upstream
) -> None:
    read = threading.Event()
    model.pause = lambda index: assert_soon(read) if index == 1 else None
    with (
        gateway.agent() as agent,
        agent.stream("POST", "/v1/chat/completions", json=ASK | {"stream": True}) as response,
    ):
        text = ""
        for part in response.iter_text():
            text += part
            if "Hello" in text:
                read.set()
    assert "from" in text


def _read_request(connection: socket.socket) -> None:
    with connection.makefile("rb") as file:
        length = 0
        while (line := file.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        file.read(length)


def assert_soon(event: threading.Event) -> None:
    assert event.wait(30), "the first piece was held back"


def test_an_agent_that_hangs_up_frees_the_model(gateway: GatewayProcess, model: Upstream) -> None:
    going = threading.Event()
    model.pieces = ["x" * 1000] * 20_000
    model.pause = lambda index: going.set()
    with (
        gateway.agent() as agent,
        agent.stream("POST", "/v1/chat/completions", json=ASK | {"stream": True}) as response,
    ):
        next(response.iter_raw())
    eventually(lambda: '"outcome":"cancelled"' in (gateway.data / "audit.jsonl").read_text())


def test_tokens_are_counted_as_the_server_says(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent, gateway.person() as person:
        agent.post("/v1/chat/completions", json=ASK)
        agent.post("/v1/chat/completions", json=ASK | {"stream": True})
        text = person.get("/metrics").text
    assert 'paictl_model_tokens_total{kind="prompt",model="chat"} 22' in text
    assert 'paictl_model_tokens_total{kind="completion",model="chat"} 8' in text


def test_a_server_that_is_down_or_fails_is_told_apart(gateway: GatewayProcess, model: Upstream) -> None:
    with gateway.agent() as agent:
        model.fail = (500, {"Content-Type": "application/json"}, b'{"error":"out of memory"}')
        failed = agent.post("/v1/chat/completions", json=ASK | {"stream": True})
        assert (failed.status_code, failed.json()["error"]["code"]) == (500, "model_failed")
        assert "out of memory" in failed.json()["error"]["message"]
        model.fail = (429, {"Retry-After": "7"}, b"slow down")
        busy = agent.post("/v1/chat/completions", json=ASK)
        assert (busy.status_code, busy.headers["retry-after"]) == (429, "7")
        unknown = agent.post("/v1/chat/completions", json=ASK | {"model": "gpt"})
        assert unknown.status_code == 404


def test_a_server_that_does_not_listen_is_502(start_gateway: StartGateway) -> None:
    gateway = start_gateway(models={"chat": local_model("unix:run/none.sock")})
    with gateway.agent() as agent:
        down = agent.post("/v1/chat/completions", json=ASK)
    assert (down.status_code, down.json()["error"]["code"]) == (502, "model_unavailable")


def test_a_connection_that_the_server_closed_meanwhile_costs_nothing(start_gateway: StartGateway) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        gateway = start_gateway(models={"chat": local_model(f"http://127.0.0.1:{server.getsockname()[1]}/v1")})

        def serve() -> None:
            first, _ = server.accept()
            with first:
                _read_request(first)
                first.sendall(said)
                _read_request(first)  # the second request comes on the kept connection, and finds it closed
            second, _ = server.accept()
            with second:
                _read_request(second)
                second.sendall(said)

        serving = threading.Thread(target=serve)
        serving.start()
        with gateway.agent() as agent:
            assert [agent.post("/v1/chat/completions", json=ASK).status_code for _ in range(2)] == [200, 200]
        serving.join(5)


def test_a_server_of_ours_that_ends_with_a_question_it_has_not_begun_costs_nothing(start_gateway: StartGateway) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        gateway = start_gateway(models={"chat": local_model(f"http://127.0.0.1:{server.getsockname()[1]}/v1")})

        def serve() -> None:
            first, _ = server.accept()
            # Closed like this, the connection is reset: so it is when a process ends with one that it had not accepted.
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            _read_request(first)
            first.close()
            second, _ = server.accept()
            with second:
                _read_request(second)
                second.sendall(said)

        serving = threading.Thread(target=serve)
        serving.start()
        with gateway.agent() as agent:
            assert agent.post("/v1/chat/completions", json=ASK).status_code == 200
        serving.join(5)


@pytest.mark.parametrize(
    ("label", "wanted", "expected"),
    [
        ("private", "chat", ("small", True)),
        ("internal", "chat", ("partner", True)),
        ("public", "chat", ("cloud", True)),
        ("private", "cloud", ("cloud", False)),
        ("internal", "cloud", ("cloud", False)),
        ("public", "cloud", ("cloud", True)),
        ("private", "partner", ("partner", False)),
        ("private", "vault", ("vault", True)),
        ("private", "small", ("small", True)),
    ],
)
def test_a_class_reaches_the_first_model_in_order_that_may_see_it(
    label: Any, wanted: str, expected: tuple[str, bool]
) -> None:
    models = {
        "cloud": ModelRoute(task="chat", endpoint="https://a.example/v1", model="m", local=False),
        "partner": ModelRoute(
            task="chat", endpoint="https://b.example/v1", model="m", local=False, classes=["public", "internal"]
        ),
        "small": ModelRoute(task="chat", endpoint="unix:x", model="m", local=True),
        "vault": ModelRoute(task="chat", endpoint="https://c.example/v1", model="m", local=False, classes=["private"]),
    }
    choice = choose(models, {"chat": ["cloud", "partner", "small"]}, wanted, label)
    assert choice is not None
    assert (choice.name, choice.allowed) == expected


def test_when_no_model_may_see_it_the_rule_is_named() -> None:
    cloud = ModelRoute(task="chat", endpoint="https://a.example/v1", model="m", local=False)
    rule = "spec.models.cloud.classes does not list private, the class of this conversation"
    assert choose({"cloud": cloud}, {}, "chat", "private") == Choice("cloud", False, rule)
    assert choose({}, {}, "chat", "private") is None


def test_private_data_reaches_no_api_model_and_a_public_conversation_does(
    start_gateway: StartGateway, model: Upstream
) -> None:
    with running() as api:
        gateway = start_gateway(
            secrets={"cloud-key": CANARY},
            models={"cloud": api_model(api.endpoint, hosts=["127.0.0.1"]), "chat": local_model(model.endpoint)},
            routing={"chat": ["cloud", "chat"]},
        )
        public = {"X-Paictl-Session": "pub", "X-Paictl-Class": "public"}
        with gateway.agent() as agent, gateway.person() as person, ScriptedAgent(gateway, say("x")):
            refused = agent.post("/v1/chat/completions", json=ASK | {"model": "cloud"})
            assert refused.status_code == 403
            assert "spec.models.cloud.classes does not list private" in refused.json()["error"]["message"]
            agent.post("/v1/chat/completions", json=ASK)
            assert (len(api.asked), len(model.asked)) == (0, 1)
            person.post("/v1/chat/completions", json=ASK | {"model": "atlas"}, headers=public)
            agent.post("/v1/chat/completions", json=ASK, headers={"X-Paictl-Session": "pub"})
            assert (len(api.asked), len(model.asked)) == (1, 1)
            # The class sticks and rises with what is recalled: the work space is private.
            agent.post("/memory/remember", json={"text": "heron", "space": "work"})
            agent.post("/memory/recall", json={"query": "heron"}, headers={"X-Paictl-Session": "pub"})
            person.post("/v1/chat/completions", json=ASK | {"model": "atlas"}, headers=public)
            agent.post("/v1/chat/completions", json=ASK, headers={"X-Paictl-Session": "pub"})
            assert (len(api.asked), len(model.asked)) == (1, 2)
            assert 'paictl_egress_bytes_total{model="cloud"}' in person.get("/metrics").text


@pytest.mark.promise(23)
def test_an_api_key_reaches_its_one_host_and_is_found_nowhere_else(start_gateway: StartGateway) -> None:
    with running() as api:
        cloud = api_model(api.endpoint, hosts=["127.0.0.1"], classes=["private"])
        gateway = start_gateway(secrets={"cloud-key": CANARY + "\n"}, models={"cloud": cloud})
        seen = ""
        with gateway.agent() as agent, gateway.person() as person:
            for more in ({}, {"stream": True}):
                seen += agent.post("/v1/chat/completions", json=ASK | more).text
            # A server that says the key back: in an error, in an answer, in a stream, in a redirect.
            api.pieces = ["your key is ", CANARY, CANARY[:9], CANARY[9:]]
            for more in ({}, {"stream": True}):
                seen += agent.post("/v1/chat/completions", json=ASK | more).text
            api.fail = (401, {"X-Echo": CANARY}, f"Incorrect API key provided: {CANARY}".encode())
            refused = agent.post("/v1/chat/completions", json=ASK)
            assert refused.status_code == 502
            seen += refused.text + str(refused.headers)
            seen += person.get("/metrics").text + person.get("/status").text
        assert {asked.headers["authorization"] for asked in api.asked} == {f"Bearer {CANARY}"}
        assert CANARY not in seen.replace('", "', "")
        assert "[redacted]" in seen
        assert gateway.process is not None
        proc = Path("/proc") / str(gateway.process.pid)
        for kept in (proc / "environ", proc / "cmdline"):
            assert CANARY.encode() not in kept.read_bytes()
        gateway.stop()
        found = [path for path in gateway.root.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
        assert found == [gateway.root / "secrets" / "cloud-key"]


@pytest.mark.promise(23)
def test_a_key_is_not_sent_to_a_host_it_is_not_declared_for_nor_along_a_redirect(start_gateway: StartGateway) -> None:
    with running() as api, running() as thief:
        models = {
            "elsewhere": api_model(api.endpoint, hosts=["api.example.com"], classes=["private"]),
            "anywhere": api_model(api.endpoint, classes=["private"]),
            "cloud": api_model(api.endpoint, hosts=["127.0.0.1"], classes=["private"]),
        }
        gateway = start_gateway(secrets={"cloud-key": CANARY}, models=models)
        with gateway.agent() as agent:
            for name in ("elsewhere", "anywhere"):
                refused = agent.post("/v1/chat/completions", json=ASK | {"model": name})
                assert refused.status_code == 403
                assert refused.json()["error"]["code"] == "secret_not_for_host"
            assert api.asked == []
            api.fail = (307, {"Location": f"{thief.endpoint}/chat/completions"}, b"")
            redirected = agent.post("/v1/chat/completions", json=ASK | {"model": "cloud"})
            assert (redirected.status_code, redirected.json()["error"]["code"]) == (502, "model_redirects")
        assert thief.asked == []


def test_a_name_that_resolves_to_a_private_address_is_refused(start_gateway: StartGateway) -> None:
    name = "127.1"  # no address by its form, and resolved to one without a hosts file, which a bare system has not
    with running() as api:
        port = api.endpoint.rsplit(":", 1)[1]
        models = {"cloud": api_model(f"http://{name}:{port}", hosts=[name], classes=["private"])}
        gateway = start_gateway(secrets={"cloud-key": CANARY}, models=models)
        with gateway.agent() as agent:
            refused = agent.post("/v1/chat/completions", json=ASK | {"model": "cloud"})
        assert refused.status_code == 403, refused.text
        assert refused.json()["error"]["code"] == "private_address"
        assert api.asked == []


def test_a_missing_key_is_told_by_its_name(start_gateway: StartGateway) -> None:
    with running() as api:
        gateway = start_gateway(models={"cloud": api_model(api.endpoint, hosts=["127.0.0.1"], classes=["private"])})
        with gateway.agent() as agent:
            missing = agent.post("/v1/chat/completions", json=ASK | {"model": "cloud"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (503, "secret_missing")


def test_a_key_is_taken_out_of_a_stream_wherever_it_is_cut() -> None:
    import asyncio
    from collections.abc import AsyncIterator

    key = b"sk-aab"
    text = b"a sk-aab b sk-aasksk-aab sk-aa end sk-a"
    expected = text.replace(key, b"[redacted]")

    async def through(pieces: list[bytes]) -> bytes:
        async def source() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        return b"".join([chunk async for chunk in redacted_stream(source(), key)])

    for size in range(1, len(text) + 1):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert asyncio.run(through(pieces)) == expected


def test_the_audit_log_names_the_rule_of_each_model_call_and_holds_no_words(gateway: GatewayProcess) -> None:
    with gateway.agent(**{"X-Paictl-Run": "run-7"}) as agent:
        agent.post(
            "/v1/chat/completions", json={"model": "chat", "messages": [{"role": "user", "content": "zanzibar"}]}
        )
    log = gateway.data / "audit.jsonl"
    eventually(lambda: '"effect"' in log.read_text())
    decision, effect = [json.loads(line) for line in log.read_text().splitlines()]
    assert (decision["kind"], decision["action"], decision["resource"], decision["allowed"]) == (
        "decision",
        "model.use",
        "chat",
        True,
    )
    assert (decision["principal"], decision["run"]) == ("agent:self", "run-7")
    assert decision["rule"] == "spec.models.chat runs on this target"
    assert (effect["kind"], effect["decision"], effect["outcome"]) == ("effect", decision["seq"], "ok")
    assert effect["facts"] == {"prompt_tokens": 11, "completion_tokens": 4}
    assert "zanzibar" not in (gateway.data / "audit.jsonl").read_text()
