from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.runtime.gateway.conftest import StartGateway, new_memory
from tests.runtime.gateway.gatewayprocess import SPACES, GatewayProcess, ScriptedAgent, local_model, say
from tests.runtime.gateway.upstream import Upstream, eventually, vector

INES = "My sister's name is Ines"


def remember(agent: httpx.Client, text: str, space: str = "work", **headers: str) -> dict[str, Any]:
    response = agent.post("/memory/remember", json={"text": text, "space": space}, headers=headers)
    assert response.status_code == 200, response.text
    return dict(response.json())


def recall(agent: httpx.Client, query: str, /, session: str = "", **asked: Any) -> list[str]:
    response = agent.post("/memory/recall", json={"query": query} | asked, headers={"X-Paictl-Session": session})
    assert response.status_code == 200, response.text
    return [memory["text"] for memory in response.json()["memories"]]


def files_with(root: Path, marker: bytes) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and marker in path.read_bytes()]


def test_what_was_remembered_is_recalled_also_after_a_restart(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent:
        first = remember(agent, INES)
        remember(agent, "The cat is called Tom", "home")
        assert first["id"].startswith("mem-")
    gateway.kill()
    gateway.start()
    with gateway.agent() as agent:
        assert recall(agent, "What is the name of my sister?")[0] == INES
        assert recall(agent, "sister", spaces=["home"]) == ["The cat is called Tom"]


def test_without_an_embedding_model_words_alone_find_it(start_gateway: StartGateway, model: Upstream) -> None:
    gateway = start_gateway(models={"chat": local_model(model.endpoint)})
    with gateway.agent() as agent:
        remember(agent, INES)
        remember(agent, "The cat is called Tom")
        assert recall(agent, "my sisters' names") == [INES]
        assert recall(agent, "nothing alike") == []
        assert recall(agent, "***") == []


def test_with_an_embedding_model_meaning_finds_what_words_do_not(gateway: GatewayProcess, model: Upstream) -> None:
    with gateway.agent() as agent, gateway.person() as person:
        remember(agent, INES)
        eventually(lambda: "embeddings" in str([one.path for one in model.asked]))
        # No word in common: only the vectors lead there.
        eventually(lambda: recall(agent, "unrelated question") == [INES])
        assert person.get("/status").json()["memory"]["records"]["work"] == 1
    assert model.of("/v1/embeddings")[0].body["model"] == "the-embed"


def test_the_same_key_does_nothing_the_second_time(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent, gateway.person() as person:
        first = remember(agent, INES, **{"Idempotency-Key": "wf:1"})
        again = remember(agent, "something else", **{"Idempotency-Key": "wf:1"})
        assert again == first
        assert person.get("/status").json()["memory"]["records"]["work"] == 1
        forgotten = agent.post("/memory/forget", json={"id": first["id"]}, headers={"Idempotency-Key": "wf:2"}).json()
        repeated = agent.post("/memory/forget", json={"id": first["id"]}, headers={"Idempotency-Key": "wf:2"}).json()
        assert forgotten == repeated == {"forgotten": [first["id"]]}
        assert remember(agent, INES, **{"Idempotency-Key": "wf:1"}) == first
        assert person.get("/status").json()["memory"]["records"]["work"] == 0


def test_the_same_text_in_the_same_space_is_stored_once(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent, gateway.person() as person:
        one, two = remember(agent, INES), remember(agent, f"  {INES} ")
        other = remember(agent, INES, "home")
        assert one == two
        assert other["id"] != one["id"]
        assert person.get("/status").json()["memory"]["records"] == {"work": 1, "home": 1, "session": 0}


def test_what_is_said_for_a_session_stays_in_it_and_ends_with_it(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent, gateway.person() as person:
        remember(agent, "The code word is heron", "session", **{"X-Paictl-Session": "s1"})
        assert recall(agent, "code word", session="s1") == ["The code word is heron"]
        assert recall(agent, "code word", session="s2") == []
        assert recall(agent, "code word") == []
        refused = agent.post("/memory/remember", json={"text": "x", "space": "session"})
        assert refused.json()["error"]["code"] == "no_session"
        assert person.delete("/v1/sessions/s1").json() == {"id": "s1", "deleted": True, "forgotten": 1}
        assert recall(agent, "code word", session="s1") == []
    gateway.stop()
    assert files_with(gateway.data, b"heron") == []


def test_a_request_without_a_session_is_a_conversation_of_its_own(gateway: GatewayProcess) -> None:
    def script(work: dict[str, Any], door: httpx.Client) -> Iterator[dict[str, Any]]:
        remember(door, "The code word is heron", "session", **{"X-Paictl-Session": work["session"]})
        yield {"delta": " ".join(recall(door, "code word", session=work["session"]))}
        yield {"done": True}

    asked = {"messages": [{"role": "user", "content": "x"}]}
    with ScriptedAgent(gateway, script), gateway.person() as person:
        answer = person.post("/v1/chat/completions", json=asked).json()
        assert answer["choices"][0]["message"]["content"] == "The code word is heron"
        assert person.get("/status").json()["memory"]["records"]["session"] == 0


def test_a_space_keeps_what_it_holds_as_long_as_it_says_also_when_that_changes(
    start_gateway: StartGateway, model: Upstream
) -> None:
    gateway = start_gateway(models={"chat": local_model(model.endpoint)})
    with gateway.agent() as agent:
        remember(agent, "An old thing", "home")
        remember(agent, "A lasting thing")
    gateway.stop()
    file = next(gateway.data.glob("memory.db"))
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE records SET created = created - 86400 * 10")
    gateway.config["memory"] = {"spaces": SPACES | {"home": {"class": "internal", "retain": "7d"}}}
    gateway.start()
    with gateway.agent() as agent, gateway.person() as person:
        assert recall(agent, "thing") == ["A lasting thing"]
        eventually(lambda: person.get("/status").json()["memory"]["records"]["home"] == 0)
        eventually(lambda: files_with(gateway.data, b"old thing") == [])


@pytest.mark.promise(34)
@pytest.mark.parametrize("by", ["id", "query"])
def test_after_forget_the_marker_is_in_no_file(gateway: GatewayProcess, by: str) -> None:
    marker = "zanzibar7431"
    text = f"The vault opens with {marker}"
    packed = struct.pack("<32f", *vector(text))
    with gateway.agent(**{"X-Paictl-Session": "s1", "X-Paictl-Run": "r1"}) as agent:
        for index in range(40):
            remember(agent, f"Filler number {index} about the weather")
        known = remember(agent, text)
        assert recall(agent, marker) != []
        # Really there: in the database's files, as text and as a vector.
        assert files_with(gateway.data, marker.encode())
        assert files_with(gateway.data, packed[:48])
        asked = {"id": known["id"]} if by == "id" else {"query": f"{marker} vault"}
        assert agent.post("/memory/forget", json=asked).json() == {"forgotten": [known["id"]]}
        assert text not in recall(agent, marker)
        assert files_with(gateway.root, marker.encode()) == []
        assert files_with(gateway.root, packed[:48]) == []
    gateway.stop()
    assert files_with(gateway.root, marker.encode()) == []


def test_forget_by_query_takes_what_holds_all_the_words_and_nothing_near(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent:
        kept = ["My sister lives in Porto", "The name of the cat is Tom"]
        for text in (INES, *kept):
            remember(agent, text)
        assert len(agent.post("/memory/forget", json={"query": "sister name"}).json()["forgotten"]) == 1
        assert sorted(recall(agent, "sister name")) == sorted(kept)
        assert agent.post("/memory/forget", json={"id": "mem-unknown"}).json() == {"forgotten": []}
        assert agent.post("/memory/forget", json={}).status_code == 400


def test_recall_stops_at_its_limit_and_its_token_budget(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent:
        for index in range(6):
            remember(agent, f"heron {index} " + "x" * 392)  # 400 bytes, about 100 tokens
        assert len(recall(agent, "heron")) == 6
        assert len(recall(agent, "heron", limit=2)) == 2
        assert len(recall(agent, "heron", budget=350)) == 3
        assert recall(agent, "heron", budget=0) == []


def test_an_undeclared_space_is_refused_by_name(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent:
        for path, body in (
            ("remember", {"text": "x", "space": "nope"}),
            ("recall", {"query": "x", "spaces": ["nope"]}),
        ):
            response = agent.post(f"/memory/{path}", json=body)
            assert response.status_code == 404
            assert response.json()["error"]["code"] == "no_such_space"


def test_a_new_embedding_is_indexed_beside_the_old_one_and_no_memory_is_lost(
    start_gateway: StartGateway, model: Upstream
) -> None:
    models = {"embed": local_model(model.endpoint, "embed")}
    gateway = start_gateway(models=models, memory=new_memory(embed="embed"))
    texts = [f"fact {index} about herons" for index in range(70)]
    with gateway.agent() as agent:
        for text in texts:
            remember(agent, text)
    gateway.stop()
    model.salt = "another model"
    model.fail = (503, {}, b"loading")
    gateway.config["models"]["embed"]["fingerprint"] = "two"
    gateway.start()
    with gateway.agent() as agent:
        # While the new one can't be built, words find everything and the old index still stands.
        assert len(recall(agent, "herons", limit=100)) == 50
        assert _fingerprints(gateway) == ["one", "two"]
        model.fail = None
        eventually(lambda: _fingerprints(gateway) == ["two"])
        eventually(lambda: len(recall(agent, "unrelated", limit=100)) == 50)
        assert recall(agent, texts[7])[0] == texts[7]


def test_an_embedding_server_that_is_down_costs_no_memory(start_gateway: StartGateway, model: Upstream) -> None:
    gateway = start_gateway(models={"embed": local_model(model.endpoint, "embed")}, memory=new_memory(embed="embed"))
    with gateway.agent() as agent:
        eventually(lambda: _complete(gateway))
        model.fail = (500, {}, b"broken")
        remember(agent, INES)
        assert recall(agent, "sister") == [INES]
        model.fail = None
    gateway.stop()
    gateway.start()
    with gateway.agent() as agent:
        eventually(lambda: recall(agent, "unrelated") == [INES])


def test_an_external_embedding_server_says_its_dimension_by_its_first_vector(
    start_gateway: StartGateway, model: Upstream
) -> None:
    embed = local_model(model.endpoint, "embed", dimension=None, fingerprint="")
    gateway = start_gateway(models={"embed": embed}, memory=new_memory(embed="embed"))
    with gateway.agent() as agent:
        remember(agent, INES)
        eventually(lambda: recall(agent, "unrelated") == [INES])


def test_vectors_of_another_length_are_not_mixed_in(start_gateway: StartGateway, model: Upstream) -> None:
    embed = local_model(model.endpoint, "embed", dimension=7)
    gateway = start_gateway(models={"embed": embed}, memory=new_memory(embed="embed"))
    with gateway.agent() as agent:
        remember(agent, INES)
        assert recall(agent, "sister") == [INES]
    eventually(lambda: "the embedding has 32 numbers, the index 7" in gateway.log)


def test_a_database_that_is_damaged_is_named_and_left_alone(start_gateway: StartGateway) -> None:
    gateway = start_gateway(run=False)
    gateway.data.mkdir(parents=True)
    damaged = gateway.data / "memory.db"
    damaged.write_bytes(b"not a database" * 1000)
    gateway.launch()
    assert gateway.process is not None
    assert gateway.process.wait(30) == 1
    assert "memory.db can't be opened" in gateway.log
    assert "Traceback" not in gateway.log
    assert damaged.read_bytes() == b"not a database" * 1000


def test_a_memory_that_is_larger_than_allowed_or_empty_is_refused(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent:
        for text in ("", "   ", "x" * 40_000):
            assert agent.post("/memory/remember", json={"text": text, "space": "work"}).status_code == 400


def test_the_files_of_memory_are_for_their_owner_only(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent:
        remember(agent, INES)
    modes = {path.name: path.stat().st_mode & 0o077 for path in gateway.data.iterdir() if path.suffix != ".inception"}
    assert set(modes.values()) == {0}, modes
    assert os.stat(gateway.data).st_mode & 0o077 == 0  # noqa: PTH116 - reads like the line above


def test_metrics_count_memories_requests_and_refusals(gateway: GatewayProcess) -> None:
    with gateway.agent() as agent, gateway.person() as person, ScriptedAgent(gateway, say("x")):
        remember(agent, INES)
        person.get("/status", headers={"Authorization": "Bearer wrong"})
        text = person.get("/metrics").text
    assert 'paictl_memory_records{space="work"} 1' in text
    assert 'paictl_requests_total{door="inner",route="/memory/remember",status="200"} 1' in text
    assert 'paictl_refused_total{reason="invalid_token"} 1' in text
    assert "# TYPE paictl_request_seconds histogram" in text
    assert "paictl_agent_ready 1" in text


def _fingerprints(gateway: GatewayProcess) -> list[str]:
    with sqlite3.connect(gateway.data / "memory.db") as connection:
        return sorted(row[0] for row in connection.execute("SELECT fingerprint FROM indexes"))


def _complete(gateway: GatewayProcess) -> bool:
    with sqlite3.connect(gateway.data / "memory.db") as connection:
        return bool(connection.execute("SELECT complete FROM indexes").fetchone()[0])
