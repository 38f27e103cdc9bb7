"""Two gateways over one database are one gateway: one budget, one log, one conversation, one queue."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg import sql

from tests.runtime.gateway.conftest import StartGateway
from tests.runtime.gateway.gatewayprocess import SPACES, GatewayProcess, ScriptedAgent, events_of, local_model, say
from tests.runtime.gateway.sharedstate import chain, new_agent, schema_of, together
from tests.runtime.gateway.storeservers import PostgresServer
from tests.runtime.gateway.test_memory import INES, recall, remember
from tests.runtime.gateway.upstream import Upstream, eventually

pytestmark = pytest.mark.slow

CHAT = {"messages": [{"role": "user", "content": "Good morning, zanzibar."}]}


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.initialise()
        server.start()
        server.create("paictl")
        yield server
    finally:
        server.discard()


def chat(gateway: GatewayProcess, session: str = "", **more: Any) -> httpx.Response:
    with gateway.person(**({"X-Paictl-Session": session} if session else {})) as person:
        return person.post("/v1/chat/completions", json=CHAT | more)


def said(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


@pytest.mark.promise(32)
def test_a_budget_is_counted_once_over_all_gateways(
    start_gateway: StartGateway, model: Upstream, postgres: PostgresServer
) -> None:
    gateways = together(
        start_gateway,
        postgres,
        new_agent(),
        models={"chat": local_model(model.endpoint)},
        permissions={"budget": {"calls": "40/hour"}},
    )

    def spend(number: int) -> int:
        with gateways[number % 2].agent() as agent:
            return agent.post("/v1/chat/completions", json=CHAT).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(spend, range(100)))
    assert sorted(statuses) == [200] * 40 + [429] * 60


@pytest.mark.promise(29)
def test_all_gateways_write_one_chain_also_when_one_is_killed(
    start_gateway: StartGateway, postgres: PostgresServer, tmp_path: Path
) -> None:
    name = new_agent()
    gateways = together(start_gateway, postgres, name, count=3)

    def note(number: int) -> None:
        with gateways[number % 3].agent() as agent:
            remember(agent, f"fact {number}")

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(note, range(60)))
    gateways[0].kill()
    for number in (1, 2, 4):
        note(number)
    gateways[1].stop()
    gateways[2].stop()
    records, findings = chain(postgres, name, tmp_path)
    assert findings == []
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert sum(record["kind"] == "decision" for record in records) == 63
    table = sql.Identifier(schema_of(name), "audit")
    postgres.ask(
        sql.SQL("UPDATE {} SET record = replace(record, 'memory.write', 'memory.read') WHERE seq = 7").format(table)
    )
    assert {finding.kind for finding in chain(postgres, name, tmp_path)[1]} == {"altered"}
    postgres.ask(sql.SQL("DELETE FROM {} WHERE seq > 100").format(table))
    assert "truncated" in {finding.kind for finding in chain(postgres, name, tmp_path)[1]}
    gateways[1].launch()
    assert gateways[1].process is not None
    assert gateways[1].process.wait(20) == 1
    assert "it was cut" in gateways[1].log


def _knows_the_agent(person: httpx.Client) -> bool:
    return person.get("/healthz/agent").status_code == 200


def test_a_message_at_one_gateway_is_answered_by_an_agent_that_polls_another(
    start_gateway: StartGateway, postgres: PostgresServer
) -> None:
    here, there = together(start_gateway, postgres, new_agent())
    words = [f"word{number} " for number in range(50)]
    with ScriptedAgent(there, say(*words), schedules={"reflect": "0 22 * * *"}) as agent:
        for gateway in (here, there):
            with gateway.person() as person:
                eventually(partial(_knows_the_agent, person))
                assert person.get("/status").json()["schedules"] == {"reflect": "0 22 * * *"}
        assert said(chat(here)) == "".join(words)
        streamed = events_of(chat(here, stream=True).text)
        deltas = [event["choices"][0]["delta"].get("content", "") for event in streamed[:-1] if event["choices"]]
        assert "".join(deltas) == "".join(words)
        with here.person() as person:
            assert person.post("/workflows/reflect/runs").status_code == 202
        eventually(lambda: [work["kind"] for work in agent.work] == ["chat", "chat", "workflow"])


def test_a_conversation_goes_on_at_another_gateway_with_its_class_and_its_memories(
    start_gateway: StartGateway, model: Upstream, postgres: PostgresServer
) -> None:
    cloud = local_model(model.endpoint) | {"local": False, "classes": ["public"]}
    here, there = together(start_gateway, postgres, new_agent(), models={"cloud": cloud}, memory={"spaces": SPACES})
    session = {"X-Paictl-Session": "tea"}

    def think(gateway: GatewayProcess) -> int:
        with gateway.agent(**session) as agent:
            return agent.post("/v1/chat/completions", json=CHAT).status_code

    with ScriptedAgent(there, say("Hello.")):
        with here.person(**session, **{"X-Paictl-Class": "public"}) as person:
            assert person.post("/v1/chat/completions", json=CHAT).status_code == 200
        # A public conversation may leave, from wherever it is held; one that nobody knows is private.
        assert think(there) == 200
        with here.agent(**session) as agent:
            remember(agent, INES, "session")
        with there.agent(**session) as agent:
            assert recall(agent, "sister", session="tea") == [INES]
            assert recall(agent, "sister", session="coffee") == []
        assert think(here) == 403, "what is private came into it"
        with there.person() as person:
            assert person.delete("/v1/sessions/tea").json()["forgotten"] == 1
        with here.agent(**session) as agent:
            assert recall(agent, "sister", session="tea") == []


def _answer(agent: httpx.Client, work: str, lines: Iterator[bytes]) -> int:
    try:
        return agent.post(f"/agent/work/{work}/reply", content=lines, headers={"X-Paictl-Reply": "one"}).status_code
    except httpx.TransportError:
        return 0


def _begun(agent: httpx.Client) -> str:
    """The id of the next piece of work."""
    assert agent.post("/agent/hello", json={"schedules": {}}).status_code == 200
    found: list[str] = []

    def polled() -> bool:
        answer = agent.get("/agent/work", params={"wait": "1"})
        if answer.status_code == 200:
            found.append(answer.json()["id"])
        return bool(found)

    eventually(polled)
    return found[0]


LINES = [json.dumps({"delta": f"{word} "}).encode() + b"\n" for word in ("one", "two", "three", "four")]
LAST = json.dumps({"done": True, "usage": {}}).encode() + b"\n"


def _streaming(gateway: GatewayProcess, heard: list[str], first: threading.Event) -> None:
    with (
        gateway.person() as person,
        person.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as answer,
    ):
        for line in answer.iter_lines():
            heard.append(line)
            if '"content":"two "' in line:
                first.set()


def test_an_answer_whose_gateway_is_killed_goes_on_through_another_and_no_word_comes_twice(
    start_gateway: StartGateway, postgres: PostgresServer
) -> None:
    waiting, passing = together(start_gateway, postgres, new_agent())
    heard: list[str] = []
    first = threading.Event()
    with passing.agent() as agent, waiting.agent() as again:
        agent.post("/agent/hello", json={"schedules": {}})
        person = threading.Thread(target=_streaming, args=(waiting, heard, first))
        person.start()
        work = _begun(agent)

        def half() -> Iterator[bytes]:
            yield from LINES[:2]
            assert first.wait(20)
            passing.kill()
            yield LINES[2]

        assert _answer(agent, work, half()) == 0
        assert _answer(again, work, iter([*LINES, LAST])) == 204
        person.join(20)
    words = [json.loads(line.removeprefix("data: ")) for line in heard if line.startswith("data: {")]
    spoken = [word["choices"][0]["delta"].get("content", "") for word in words]
    assert "".join(spoken) == "one two three four "
    assert "data: [DONE]" in heard


def test_an_answer_for_a_gateway_that_was_killed_is_not_wanted_any_more_and_its_message_is_gone(
    start_gateway: StartGateway, postgres: PostgresServer
) -> None:
    name = new_agent()
    waiting, passing = together(start_gateway, postgres, name)
    heard: list[str] = []
    first = threading.Event()

    def ask() -> None:
        with pytest.raises(httpx.TransportError):
            _streaming(waiting, heard, first)

    with passing.agent() as agent:
        agent.post("/agent/hello", json={"schedules": {}})
        person = threading.Thread(target=ask)
        person.start()
        work = _begun(agent)

        def answer() -> Iterator[bytes]:
            yield from LINES[:2]
            assert first.wait(20)
            waiting.kill()
            pause = threading.Event()
            for _ in range(300):
                pause.wait(0.1)
                yield LINES[2]

        assert _answer(agent, work, answer()) in {0, 410}
        table = sql.SQL("SELECT id FROM {}").format(sql.Identifier(schema_of(name), "work"))
        assert postgres.ask(table) == []
        person.join(20)
        assert agent.get("/agent/work", params={"wait": "0.2"}).status_code == 204


def test_gateways_that_start_at_once_make_the_tables_once(
    start_gateway: StartGateway, postgres: PostgresServer
) -> None:
    name = new_agent()
    gateways = together(start_gateway, postgres, name, count=4, run=False)
    for gateway in gateways:
        gateway.launch()
    for gateway in gateways:
        eventually(gateway.answers, 40)
    with gateways[0].agent() as agent:
        remember(agent, INES)
    with gateways[3].agent() as agent:
        assert recall(agent, "sister") == [INES]
    identities = set()
    for gateway in gateways:
        with gateway.person() as person:
            identities.add(person.get("/status").json()["identity"])
    assert len(identities) == 1


def _started(server: PostgresServer) -> bool:
    """A killed server's memory is held for a moment by those of its processes that have not noticed yet."""
    try:
        server.start()
    except AssertionError:
        return False
    return True


def test_a_database_that_is_killed_and_comes_back_costs_no_memory_and_no_gateway(start_gateway: StartGateway) -> None:
    server = PostgresServer()
    try:
        server.initialise()
        server.start()
        server.create("paictl")
        here, there = together(start_gateway, server, new_agent())
        with here.agent() as agent, there.agent() as other:
            remember(agent, INES)
            server.kill()
            assert agent.post("/memory/recall", json={"query": "sister"}).status_code == 503
            eventually(partial(_started, server))
            eventually(lambda: recall(other, "sister") == [INES])
        with ScriptedAgent(there, say("Again.")):
            eventually(lambda: said(chat(here)) == "Again.")
    finally:
        server.discard()


@pytest.mark.promise(34)
def test_what_is_forgotten_at_one_gateway_is_in_no_file_of_the_database(
    start_gateway: StartGateway, model: Upstream
) -> None:
    server = PostgresServer()
    try:
        server.initialise()
        server.start()
        server.create("paictl")
        memory = {"spaces": SPACES, "embed": "embed", "store": server.route}
        models = {"embed": local_model(model.endpoint, "embed")}
        here, there = together(start_gateway, server, new_agent(), memory=memory, models=models)
        marker = "quokkamarker"
        with here.agent() as agent, there.agent() as other:
            for number in range(30):
                remember(agent, f"{number} herons stand in the lake")
            remember(agent, f"My {marker} is kept in the shed.")
            eventually(lambda: len(recall(other, "unrelated", limit=100)) == 31)
            assert server.files_with(marker.encode()) != []
            forgotten = other.post("/memory/forget", json={"query": marker}).json()["forgotten"]
            assert len(forgotten) == 1
            assert not any(marker in text for text in recall(agent, marker, limit=100))
            eventually(lambda: server.files_with(marker.encode()) == [], 40)
            eventually(lambda: len(recall(agent, "unrelated", limit=100)) == 30)
    finally:
        server.discard()


@pytest.mark.promise(23)
def test_what_is_in_flight_between_gateways_is_not_readable_in_the_database(
    start_gateway: StartGateway, postgres: PostgresServer
) -> None:
    here, there = together(start_gateway, postgres, new_agent())
    checked = threading.Event()

    def script(work: dict[str, Any], door: httpx.Client) -> Iterator[dict[str, Any]]:
        del work, door
        yield {"delta": "wallabymarker"}
        postgres.ask("CHECKPOINT")
        assert postgres.files_with(b"zanzibar") == []
        assert postgres.files_with(b"wallabymarker") == []
        checked.set()
        yield {"done": True}

    with ScriptedAgent(there, script):
        assert said(chat(here)) == "wallabymarker"
    assert checked.is_set()
