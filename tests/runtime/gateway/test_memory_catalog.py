from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.runtime.gateway.conftest import StartGateway, new_memory
from tests.runtime.gateway.gatewayprocess import local_model
from tests.runtime.gateway.test_memory import INES, recall, remember
from tests.runtime.gateway.upstream import Upstream, eventually


def _as_before(file: Path) -> str:
    """The file as it was when an index was known by its embedding identity alone; the index's name."""
    with sqlite3.connect(file) as connection:
        [(name, fingerprint, dimension)] = connection.execute("SELECT name, fingerprint, dimension FROM indexes")
        connection.executescript(
            "DROP TABLE indexes; CREATE TABLE indexes (fingerprint TEXT PRIMARY KEY, name TEXT NOT NULL,"
            " dimension INTEGER NOT NULL, complete INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
        )
        connection.execute("INSERT INTO indexes VALUES (?, ?, ?, 1)", (fingerprint, name, dimension))
        connection.execute("UPDATE records SET embedding = ?", (fingerprint,))
    return str(name)


@pytest.mark.promise(21)
def test_a_memory_from_before_there_were_other_stores_is_taken_over_with_its_vectors(
    start_gateway: StartGateway, model: Upstream
) -> None:
    models = {"embed": local_model(model.endpoint, "embed")}
    gateway = start_gateway(models=models, memory=new_memory(embed="embed"))
    with gateway.agent() as agent:
        remember(agent, INES)
        eventually(lambda: recall(agent, "unrelated") == [INES])
    gateway.stop()
    name = _as_before(gateway.data / "memory.db")
    asked = len(model.of("/v1/embeddings"))
    gateway.start()
    with gateway.agent() as agent:
        assert recall(agent, "unrelated") == [INES]
    assert [one.body["input"] for one in model.of("/v1/embeddings")[asked:]] == [["unrelated"]]
    with sqlite3.connect(gateway.data / "memory.db") as connection:
        assert connection.execute("SELECT name, engine, complete FROM indexes").fetchall() == [(name, "embedded", 1)]
