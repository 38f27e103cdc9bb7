"""Postgres as somebody else runs it: what it refuses is said in one line, and nothing of it is touched but our own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.runtime.gateway.conftest import StartGateway
from tests.runtime.gateway.storeservers import PostgresServer
from tests.runtime.gateway.test_memory import INES, recall, remember
from tests.runtime.gateway.test_memory_stores import found_by_meaning, missing, over
from tests.runtime.gateway.upstream import Upstream, eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.discard()


def external(postgres: PostgresServer, database: str, **more: object) -> dict[str, object]:
    secret = {"secret": "store-password", "hosts": ["127.0.0.1"]}
    return {"engine": "pgvector", "endpoint": postgres.url(database), "managed": False} | secret | more


@pytest.mark.parametrize(
    ("database", "more", "said"),
    [
        ("plain", {"endpoint": "postgresql://nobody@127.0.0.1:{port}/plain"}, "password authentication failed"),
        ("missing", {}, 'database "missing" does not exist'),
        ("plain", {}, "CREATE EXTENSION vector"),
        ("plain", {"hosts": ["elsewhere.example"]}, "the secret 'store-password' is not for 127.0.0.1"),
    ],
)
@pytest.mark.promise(23)
def test_what_is_wrong_is_said_in_one_line_and_words_go_on_finding(
    start_gateway: StartGateway,
    model: Upstream,
    postgres: PostgresServer,
    database: str,
    more: dict[str, object],
    said: str,
) -> None:
    if postgres.ask("SELECT 1 FROM pg_database WHERE datname = 'plain'", database="postgres") == []:
        postgres.create("plain")
    route = external(postgres, database, **more)
    route["endpoint"] = str(route["endpoint"]).format(port=postgres.port)
    gateway = over(start_gateway, model, route)
    with gateway.agent() as agent:
        remember(agent, INES)
        assert recall(agent, "sister") == [INES]
    eventually(lambda: said in missing(gateway))
    assert "\n" not in missing(gateway)
    assert "Traceback" not in gateway.log
    assert "store-password-0123456789" not in gateway.log + missing(gateway)


def test_what_was_wrong_is_tried_again_until_it_is_right(
    start_gateway: StartGateway, model: Upstream, postgres: PostgresServer
) -> None:
    gateway = over(start_gateway, model, external(postgres, "late"))
    with gateway.agent() as agent:
        remember(agent, INES)
        eventually(lambda: "does not exist" in missing(gateway))
        postgres.create("late")
        eventually(lambda: "CREATE EXTENSION" in missing(gateway))
        postgres.ask("CREATE SCHEMA extensions", database="late")
        # Where its owner put it: not always where everybody looks.
        postgres.ask("CREATE EXTENSION vector SCHEMA extensions", database="late")
        eventually(lambda: found_by_meaning(agent))
        eventually(lambda: missing(gateway) == "")


@pytest.mark.promise(13)
def test_nothing_of_a_database_that_exists_is_touched_but_our_own_schema(
    start_gateway: StartGateway, model: Upstream, postgres: PostgresServer
) -> None:
    postgres.create("shared")
    for statement in (
        "CREATE EXTENSION vector",
        "CREATE TABLE vectors (number int PRIMARY KEY, embedding vector(3))",
        "INSERT INTO vectors VALUES (1, '[1,2,3]')",
    ):
        postgres.ask(statement, database="shared")
    # Two agents over one database keep out of each other's way.
    gateways = [over(start_gateway, model, external(postgres, "shared")) for _ in range(2)]
    for index, gateway in enumerate(gateways):
        with gateway.agent() as agent:
            remember(agent, f"{INES} {index}")
            eventually(lambda: recall(agent, "unrelated") == [f"{INES} {index}"])  # noqa: B023 - asked at once
    assert len(postgres.tables("shared")) == 2
    assert postgres.ask("SELECT number, embedding::text FROM vectors", database="shared") == [(1, "[1,2,3]")]
    others = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('paictl', 'pg_catalog', 'information_schema')"
    assert postgres.ask(others, database="shared") == [(1,)]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:hunter22@127.0.0.1/m", "holds a password"),
        ("mysql://me@127.0.0.1/m", "is not the address of a Postgres"),
    ],
)
def test_an_address_that_can_t_be_meant_is_refused_at_the_start(
    start_gateway: StartGateway, url: str, said: str
) -> None:
    gateway = start_gateway(run=False, memory={"store": {"engine": "pgvector", "endpoint": url, "managed": False}})
    gateway.launch()
    assert gateway.process is not None
    assert gateway.process.wait(15) == 1
    assert said in gateway.log
    assert "hunter22" not in gateway.log
    assert "Traceback" not in gateway.log
