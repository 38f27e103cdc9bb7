from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.runtime.gateway.conftest import StartGateway
from tests.runtime.gateway.gatewayprocess import GatewayProcess, ScriptedAgent, events_of, say
from tests.runtime.gateway.upstream import Upstream, eventually, running

HELLO = {"model": "atlas", "messages": [{"role": "user", "content": "hi"}]}


def test_an_answer_comes_whole_when_no_stream_is_asked_for(gateway: GatewayProcess) -> None:
    with ScriptedAgent(gateway, say("Good ", "day")) as agent, gateway.person() as person:
        answer = person.post("/v1/chat/completions", json=HELLO, headers={"X-Paictl-Session": "s1"}).json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "atlas"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Good day", "refusal": None}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    work = agent.work[0]
    assert work.pop("id").startswith("work-")
    assert work == {
        "kind": "chat",
        "session": "s1",
        "principal": "alice",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": False,
    }


def test_a_stream_is_in_the_form_that_chat_clients_expect(gateway: GatewayProcess) -> None:
    with ScriptedAgent(gateway, say("Good ", "day")), gateway.person() as person:
        asked = HELLO | {"stream": True, "stream_options": {"include_usage": True}}
        response = person.post("/v1/chat/completions", json=asked)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, usage, done = events_of(response.text)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Good "},
        {"content": "day"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert usage["usage"]["total_tokens"] == 5
    assert usage["choices"] == []
    assert done == "[DONE]"


def test_each_word_is_passed_on_before_the_next_one_exists(gateway: GatewayProcess) -> None:
    read = threading.Event()

    def script(work: dict[str, Any], door: httpx.Client) -> Iterator[dict[str, Any]]:
        yield {"delta": "first"}
        assert read.wait(30), "the first word did not arrive while the second was not said"
        yield {"delta": "second"}
        yield {"done": True}

    with (
        ScriptedAgent(gateway, script),
        gateway.person() as person,
        person.stream("POST", "/v1/chat/completions", json=HELLO | {"stream": True}) as response,
    ):
        text = ""
        for part in response.iter_text():
            text += part
            if "first" in text:
                read.set()
    assert text.index("first") < text.index("second") < text.index("[DONE]")


def test_the_openai_client_talks_to_the_agent(gateway: GatewayProcess) -> None:
    from openai import OpenAI

    from tests.runtime.gateway.gatewayprocess import OWNER_TOKEN

    with (
        ScriptedAgent(gateway, say("one ", "two")),
        OpenAI(base_url=f"{gateway.url}/v1", api_key=OWNER_TOKEN) as client,
    ):
        assert [model.id for model in client.models.list()] == ["atlas"]
        stream = client.chat.completions.create(
            model="atlas", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "one two"


def test_a_client_that_hangs_up_cancels_the_answer(gateway: GatewayProcess) -> None:
    gone = threading.Event()

    def script(work: dict[str, Any], door: httpx.Client) -> Iterator[dict[str, Any]]:
        yield {"delta": "first"}
        assert gone.wait(30)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            yield {"delta": "more"}
            time.sleep(0.02)

    with ScriptedAgent(gateway, script) as agent, gateway.person() as person:
        with person.stream("POST", "/v1/chat/completions", json=HELLO | {"stream": True}) as response:
            next(response.iter_raw())
        gone.set()
        eventually(lambda: agent.statuses == [410], 8)
    effects = [
        line
        for line in (gateway.data / "audit.jsonl").read_text().splitlines()
        if '"effect"' in line and '"chat"' in line
    ]
    assert '"outcome":"cancelled"' in effects[-1]


def test_a_message_waits_for_an_agent_that_is_still_starting(gateway: GatewayProcess) -> None:
    with gateway.person() as person, ThreadPoolExecutor(1) as later:
        assert person.get("/healthz/agent").status_code == 503
        answer = later.submit(person.post, "/v1/chat/completions", json=HELLO)
        with ScriptedAgent(gateway, say("Hello")):
            assert answer.result(30).status_code == 200
            assert person.get("/healthz/agent").status_code == 200


@pytest.mark.slow
def test_without_an_agent_the_answer_is_503_and_says_so(gateway: GatewayProcess) -> None:
    with gateway.person() as person:
        response = person.post("/v1/chat/completions", json=HELLO)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "agent_unavailable"
    assert "agent is not up" in response.json()["error"]["message"]
    assert response.headers["retry-after"] == "5"


def test_an_agent_that_dies_in_the_middle_ends_the_stream_with_an_error(gateway: GatewayProcess) -> None:
    def script(work: dict[str, Any], door: httpx.Client) -> Iterator[dict[str, Any]]:
        yield {"delta": "half"}

    with ScriptedAgent(gateway, script), gateway.person() as person:
        events = events_of(person.post("/v1/chat/completions", json=HELLO | {"stream": True}).text)
        whole = person.post("/v1/chat/completions", json=HELLO)
    assert events[-1]["error"]["code"] == "agent_failed"
    assert whole.status_code == 502


def test_an_agent_that_restarts_is_offered_what_it_had_not_begun(gateway: GatewayProcess) -> None:
    answers: list[httpx.Response] = []
    with gateway.agent() as agent, gateway.person() as person:
        agent.post("/agent/hello", json={"schedules": {}})
        asking = threading.Thread(target=lambda: answers.append(person.post("/v1/chat/completions", json=HELLO)))
        asking.start()
        taken = agent.get("/agent/work", params={"wait": "5"}).json()
        agent.post("/agent/hello", json={"schedules": {}})
        again = agent.get("/agent/work", params={"wait": "5"}).json()
        assert again == taken
        agent.post(f"/agent/work/{again['id']}/reply", content=b'{"delta":"back"}\n{"done":true}\n')
        asking.join(10)
    assert answers[0].json()["choices"][0]["message"]["content"] == "back"


def test_an_agent_that_has_not_said_hello_soon_learns_that_it_is_a_stranger(gateway: GatewayProcess) -> None:
    """Its hello may have gone to the gateway before this one; by a poll that ends early it knows."""
    with gateway.agent() as agent:
        begun = time.monotonic()
        assert agent.get("/agent/work", params={"wait": "19"}).status_code == 204
        assert time.monotonic() - begun < 10
        agent.post("/agent/hello", json={"schedules": {}})
        begun = time.monotonic()
        assert agent.get("/agent/work", params={"wait": "3"}).status_code == 204
        assert time.monotonic() - begun > 2


def test_an_answer_that_nobody_waits_for_is_410(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent:
        assert agent.post("/agent/work/work-none/reply", content=b'{"done":true}\n').status_code == 410
        assert agent.get("/agent/work", params={"wait": "0.05"}).status_code == 204


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"not json", 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b'{"messages":[]}', 400, "invalid_request"),
        (b'{"messages":[{"role":"robot","content":"x"}]}', 400, "invalid_request"),
        (
            b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}',
            400,
            "invalid_request",
        ),
        (b'{"model":"gpt-4","messages":[{"role":"user","content":"x"}]}', 404, "model_not_found"),
        (b'{"x":"' + b"a" * 5_000_000 + b'"}', 413, "body_too_large"),
    ],
)
def test_a_wrong_request_is_refused_in_openais_shape(
    gateway: GatewayProcess, body: bytes, status: int, code: str
) -> None:
    with gateway.person() as person:
        response = person.post("/v1/chat/completions", content=body)
        assert person.get("/healthz").status_code == 200
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert set(response.json()["error"]) == {"message", "type", "code", "param"}


def test_a_workflow_is_started_and_its_runs_are_listed_also_after_a_restart(gateway: GatewayProcess) -> None:
    with (
        ScriptedAgent(gateway, say(), workflows=["reflect"]) as agent,
        gateway.person() as person,
        gateway.agent() as door,
    ):
        started = person.post("/workflows/reflect/runs")
        assert started.status_code == 202
        eventually(lambda: agent.work)
        assert agent.work[0] == {"id": started.json()["id"], "kind": "workflow", "name": "reflect"}
        assert person.post("/workflows/unheard/runs").status_code == 404
        for state in ("begun", "ended"):
            door.post("/agent/runs", json={"workflow": "reflect", "run": "r1", "state": state, "detail": "done"})
    gateway.stop()
    gateway.start()
    with gateway.person() as person:
        runs = person.get("/workflows/reflect/runs").json()["runs"]
    assert [(run["run"], run["state"]) for run in runs] == [("r1", "ended")]


def test_ready_means_that_the_agent_is_there_and_every_local_model_answers(start_gateway: StartGateway) -> None:
    gateway = start_gateway(run=False)
    path = str(gateway.root / "run" / "chat.sock")
    gateway.config["models"] = {"chat": {"task": "chat", "endpoint": "unix:run/chat.sock", "model": "m", "local": True}}
    gateway.start()
    with gateway.person() as person:
        assert person.get("/readyz").json() == {"ready": False, "missing": ["model chat", "agent"]}
        with running(path), ScriptedAgent(gateway, say()):
            eventually(lambda: person.get("/readyz").status_code == 200)


def test_status_tells_what_continuity_compares(gateway: GatewayProcess) -> None:
    with ScriptedAgent(gateway, say(), schedules={"reflect": "0 22 * * *"}), gateway.person() as person:
        status = person.get("/status").json()
    assert status["agent"] == "atlas"
    assert status["identity"].startswith("pai:")
    assert status["release"] == gateway.config["release"]
    assert status["memory"] == {"records": {"work": 0, "home": 0, "session": 0}}
    assert status["schedules"] == {"reflect": "0 22 * * *"}
    assert status["permissions"].startswith("sha256:")
    assert status["agent_ready"] is True


def test_the_identity_is_the_same_after_a_restart_and_its_key_is_private(gateway: GatewayProcess) -> None:
    with gateway.person() as person:
        before = person.get("/status").json()["identity"]
    assert (gateway.data / "identity.key").stat().st_mode & 0o777 == 0o600
    (gateway.data / "identity.inception").unlink()
    gateway.stop()
    gateway.start()
    with gateway.person() as person:
        assert person.get("/status").json()["identity"] == before


def test_a_model_server_over_a_unix_socket_is_reached(start_gateway: StartGateway, model: Upstream) -> None:
    gateway = start_gateway(run=False)
    gateway.config["models"] = {"chat": {"task": "chat", "endpoint": "unix:run/chat.sock", "model": "m", "local": True}}
    gateway.start()
    with running(str(gateway.root / "run" / "chat.sock")) as upstream, gateway.agent() as agent:
        answer = agent.post("/v1/chat/completions", json={"model": "chat", "messages": []}).json()
    assert answer["choices"][0]["message"]["content"] == "Hello from the model"
    assert upstream.asked[0].path == "/v1/chat/completions"
