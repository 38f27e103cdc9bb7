"""One memory over each store of vectors: what holds for the embedded one holds for a server, also while that is away."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.runtime.gateway.conftest import StartGateway, new_memory
from tests.runtime.gateway.gatewayprocess import GatewayProcess, local_model
from tests.runtime.gateway.storeservers import PASSWORD, ChromaServer, PostgresServer
from tests.runtime.gateway.test_memory import INES, files_with, recall, remember
from tests.runtime.gateway.upstream import Upstream, eventually, vector

Server = PostgresServer | ChromaServer
pytestmark = pytest.mark.slow

ENGINES = [
    pytest.param(PostgresServer, id="pgvector"),
    pytest.param(ChromaServer, id="chroma", marks=pytest.mark.heavy),
]


@pytest.fixture
def new_server() -> Iterator[Callable[[type[Server]], Server]]:
    """Makes servers; started by the test, or not."""
    made: list[Server] = []

    def make(kind: type[Server]) -> Server:
        server = kind()
        made.append(server)
        server.initialise()
        return server

    yield make
    for server in made:
        server.discard()


@pytest.fixture
def postgres(new_server: Callable[[type[Server]], Server]) -> PostgresServer:
    server = new_server(PostgresServer)
    assert isinstance(server, PostgresServer)
    server.start()
    server.create("paictl")
    return server


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest, new_server: Callable[[type[Server]], Server]) -> Server:
    """A running server with nothing in it."""
    server = new_server(request.param)
    server.start()
    if isinstance(server, PostgresServer):
        server.create("paictl")
    return server


def over(start_gateway: StartGateway, model: Upstream, store: dict[str, Any], **embed: Any) -> GatewayProcess:
    """A gateway that keeps its vectors there."""
    return start_gateway(
        secrets={"store-password": PASSWORD},
        models={"embed": local_model(model.endpoint, "embed", **embed)},
        memory=new_memory(embed="embed", store=store),
    )


def missing(gateway: GatewayProcess) -> str:
    with gateway.person() as person:
        found = person.get("/readyz").json()["missing"]
    return "; ".join(one for one in found if one != "agent")


def found_by_meaning(agent: httpx.Client, text: str = INES) -> bool:
    # No word in common: only the vectors lead there.
    return text in recall(agent, "unrelated", limit=100)


@pytest.mark.promise(21)
def test_what_was_remembered_is_found_by_meaning_also_after_both_restarted(
    start_gateway: StartGateway, model: Upstream, server: Server
) -> None:
    gateway = over(start_gateway, model, server.route)
    with gateway.agent() as agent:
        remember(agent, INES)
        eventually(lambda: found_by_meaning(agent))
    gateway.kill()
    server.kill()
    server.start()
    gateway.start()
    asked = len(model.of("/v1/embeddings"))
    with gateway.agent() as agent:
        eventually(lambda: found_by_meaning(agent))
    texts = [text for one in model.of("/v1/embeddings")[asked:] for text in one.body["input"]]
    assert INES not in texts, "the server kept its vectors: nothing had to be made again"


@pytest.mark.promise(21)
def test_a_store_that_lost_everything_is_filled_again_without_being_told_again(
    start_gateway: StartGateway, model: Upstream, server: Server
) -> None:
    gateway = over(start_gateway, model, server.route)
    texts = [f"fact {index} about herons" for index in range(70)]
    with gateway.agent() as agent:
        for text in texts:
            remember(agent, text)
        eventually(lambda: len(recall(agent, "unrelated", limit=100)) == 50)
        server.wipe()
        assert server.tables() == []
        # The first question after it notices; words find everything until the vectors are back.
        assert len(recall(agent, "herons", limit=100)) == 50
        eventually(lambda: len(recall(agent, "unrelated", limit=100)) == 50)
        assert recall(agent, texts[7])[0] == texts[7]
    assert len(server.tables()) == 1


@pytest.mark.promise(21)
def test_a_store_that_lost_some_vectors_is_noticed_and_built_anew(
    start_gateway: StartGateway, model: Upstream, postgres: PostgresServer
) -> None:
    gateway = over(start_gateway, model, postgres.route)
    with gateway.agent() as agent:
        for text in (INES, "The cat is called Tom"):
            remember(agent, text)
        eventually(lambda: found_by_meaning(agent))
    gateway.stop()
    [table] = postgres.tables()
    postgres.lose(1)
    gateway.start()
    with gateway.agent() as agent:
        eventually(lambda: found_by_meaning(agent))
    eventually(lambda: len(postgres.tables()) == 1 and postgres.tables() != [table])


@pytest.mark.promise(21)
@pytest.mark.heavy
def test_from_store_to_store_and_back_every_record_stays_findable(
    start_gateway: StartGateway, model: Upstream, postgres: PostgresServer, new_server: Callable[[type[Server]], Server]
) -> None:
    chroma = new_server(ChromaServer)
    chroma.start()
    gateway = over(start_gateway, model, {"engine": "embedded"})
    told: list[str] = []
    routes = [{"engine": "embedded"}, postgres.route, chroma.route, {"engine": "embedded"}, postgres.route]
    for step, route in enumerate(routes):
        gateway.stop()
        gateway.config["memory"]["store"] = route
        gateway.start()
        with gateway.agent() as agent:
            told.append(f"{INES} and she turned {step}")
            remember(agent, told[-1])
            assert sorted(recall(agent, "sister", limit=100)) == sorted(told), "by words, from the first moment"
            eventually(lambda: sorted(recall(agent, "unrelated", limit=100)) == sorted(told))
            if step == 3:
                gone = told.pop(0)
                agent.post("/memory/forget", json={"query": gone}).raise_for_status()
    # What was forgotten elsewhere did not come back with the store it had been in.
    eventually(lambda: len(postgres.tables()) == 1 and len(postgres.numbers()) == len(told))


def test_an_outage_costs_no_acknowledged_fact_and_needs_no_restart(
    start_gateway: StartGateway, model: Upstream, server: Server
) -> None:
    gateway = over(start_gateway, model, server.route)
    acknowledged: list[str] = []
    failures: list[str] = []
    stopping = threading.Event()

    def load() -> None:
        with gateway.agent() as agent:
            for index in range(100_000):
                if stopping.is_set():
                    return
                text = f"herons were counted, entry {index}"
                answer = agent.post("/memory/remember", json={"text": text, "space": "work"})
                (acknowledged if answer.status_code == 200 else failures).append(text)
                if agent.post("/memory/recall", json={"query": f"entry {index}"}).status_code != 200:
                    failures.append(f"recall {index}")

    thread = threading.Thread(target=load)
    thread.start()
    with gateway.agent() as agent:
        try:
            for _ in range(2):
                had = len(acknowledged)
                eventually(lambda: len(acknowledged) > had + 20)  # noqa: B023 - asked at once
                server.kill()
                had = len(acknowledged)
                eventually(lambda: len(acknowledged) > had + 20)  # noqa: B023 - asked at once
                # Words find what was said a moment ago.
                last = acknowledged[-1]
                assert recall(agent, last)[0] == last
                eventually(lambda: server.route["engine"] in missing(gateway))
                server.start()
                eventually(lambda: missing(gateway) == "")
        finally:
            stopping.set()
            thread.join(30)
        assert failures == []
        eventually(lambda: len(recall(agent, "unrelated", limit=100)) == 50)
        for text in acknowledged[:: max(1, len(acknowledged) // 20)]:
            assert text in recall(agent, text, limit=100)
    if isinstance(server, PostgresServer):
        eventually(lambda: len(server.numbers()) == len(acknowledged))


def test_a_server_that_comes_up_after_the_gateway_is_found(
    start_gateway: StartGateway, model: Upstream, server: Server
) -> None:
    server.kill()
    gateway = over(start_gateway, model, server.route)
    with gateway.agent() as agent:
        remember(agent, INES)
        assert recall(agent, "sister") == [INES]
        place = f"{server.route['engine']} at 127.0.0.1:{server.port}: "
        eventually(lambda: place in missing(gateway))
        assert missing(gateway).partition(place)[2] in {"Connection refused", "All connection attempts failed"}
        server.start()
        eventually(lambda: found_by_meaning(agent))
        eventually(lambda: missing(gateway) == "")
    assert "Traceback" not in gateway.log
    assert gateway.log.count("indexing waits") < 5, "said once, not with each attempt"


@pytest.mark.promise(34)
def test_after_forget_the_marker_is_in_no_file_of_the_gateway_and_never_was_in_one_of_the_store(
    start_gateway: StartGateway, model: Upstream, server: Server
) -> None:
    gateway = over(start_gateway, model, server.route)
    marker = "zanzibar7431"
    with gateway.agent() as agent:
        for index in range(20):
            remember(agent, f"Filler number {index} about the weather")
        known = remember(agent, f"The vault opens with {marker}")
        eventually(lambda: found_by_meaning(agent, f"The vault opens with {marker}"))
        assert files_with(gateway.data, marker.encode())
        assert server.files_with(marker.encode()) == []
        assert agent.post("/memory/forget", json={"id": known["id"]}).json() == {"forgotten": [known["id"]]}
        assert not found_by_meaning(agent, f"The vault opens with {marker}")
        assert files_with(gateway.root, marker.encode()) == []
        assert server.files_with(marker.encode()) == []


@pytest.mark.promise(34)
def test_soon_after_forget_the_vector_is_in_no_file_of_postgres_either(
    start_gateway: StartGateway, model: Upstream, postgres: PostgresServer
) -> None:
    gateway = over(start_gateway, model, postgres.route)
    with gateway.agent() as agent:
        for text in [f"Filler {index} about the weather" for index in range(30)]:
            remember(agent, text)
        # The last row of a page is what a vacuum leaves behind.
        known = remember(agent, INES)
        eventually(lambda: found_by_meaning(agent))
        packed = struct.pack("<12f", *vector(INES)[:12])
        eventually(lambda: postgres.files_with(packed) != [])
        assert agent.post("/memory/forget", json={"id": known["id"]}).json() == {"forgotten": [known["id"]]}
        eventually(lambda: postgres.files_with(packed) == [])
        assert len(postgres.numbers()) == 30


@pytest.mark.promise(34)
def test_what_is_forgotten_while_the_store_is_away_goes_at_once_and_its_vector_when_the_store_is_back(
    start_gateway: StartGateway, model: Upstream, postgres: PostgresServer
) -> None:
    gateway = over(start_gateway, model, postgres.route)
    with gateway.agent() as agent:
        known = remember(agent, INES)
        remember(agent, "The cat is called Tom")
        eventually(lambda: found_by_meaning(agent))
        assert postgres.numbers() == [1, 2]
        postgres.kill()
        assert agent.post("/memory/forget", json={"id": known["id"]}).json() == {"forgotten": [known["id"]]}
        assert files_with(gateway.data, b"Ines") == []
        postgres.start()
        eventually(lambda: postgres.numbers() == [2])


def test_scopes_are_kept_also_from_those_whose_names_are_statements(
    start_gateway: StartGateway, model: Upstream, server: Server
) -> None:
    evil = "s'); DROP SCHEMA paictl CASCADE; --"
    gateway = over(start_gateway, model, server.route)
    with gateway.agent() as agent:
        remember(agent, "The code word is heron", "session", **{"X-Paictl-Session": evil})
        remember(agent, "The cat is called Tom", "home")
        remember(agent, INES)
        eventually(lambda: recall(agent, "unrelated", session=evil, spaces=["session"]) == ["The code word is heron"])
        assert recall(agent, "unrelated", session="s2", spaces=["session"]) == []
        eventually(lambda: recall(agent, "unrelated", spaces=["home"]) == ["The cat is called Tom"])
        assert sorted(recall(agent, "unrelated", session="s2")) == sorted([INES, "The cat is called Tom"])
    with gateway.person() as person:
        assert person.delete("/v1/sessions/" + httpx.URL(f"http://x/{evil}").raw_path.decode()[1:]).status_code == 200
    assert len(server.tables()) == 1


def test_what_is_near_in_another_space_does_not_crowd_out_what_was_asked_for(
    start_gateway: StartGateway, model: Upstream, server: Server
) -> None:
    gateway = over(start_gateway, model, server.route)
    with gateway.agent() as agent:
        for index in range(60):
            remember(agent, f"weather today {index}")
        remember(agent, "The cat is called Tom", "home")
        eventually(lambda: recall(agent, "weather today", spaces=["home"]) == ["The cat is called Tom"])


def test_another_dimension_is_another_index_beside_the_old_one(
    start_gateway: StartGateway, model: Upstream, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = over(start_gateway, model, server.route, fingerprint="one")
    with gateway.agent() as agent:
        remember(agent, INES)
        eventually(lambda: found_by_meaning(agent))
    [before] = server.tables()
    gateway.stop()
    monkeypatch.setattr("tests.runtime.gateway.upstream.DIMENSION", 48)
    gateway.config["models"]["embed"] = local_model(model.endpoint, "embed", fingerprint="two", dimension=48)
    gateway.start()
    with gateway.agent() as agent:
        eventually(lambda: found_by_meaning(agent))
    eventually(lambda: len(server.tables()) == 1 and server.tables() != [before])


def test_a_thousand_memories_are_all_indexed_and_each_is_found(
    start_gateway: StartGateway, model: Upstream, server: Server
) -> None:
    gateway = over(start_gateway, model, {"engine": "embedded"})
    texts = [f"The parcel {index * 7919} came from town {index}" for index in range(1000)]
    with gateway.agent() as agent:
        for text in texts:
            remember(agent, text)
    gateway.stop()
    gateway.config["memory"]["store"] = server.route
    gateway.start()
    with gateway.agent() as agent:
        eventually(lambda: len(recall(agent, "unrelated", limit=100)) == 50, seconds=120)
        for text in texts[::100]:
            assert recall(agent, text)[0] == text
