"""The agent over shared state: its work survives it, its replacement and the gateways that it speaks through."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.ports import free_port
from tests.runtime.gateway.conftest import StartGateway, start_gateway
from tests.runtime.gateway.gatewayprocess import AGENT_TOKEN, SPACES, GatewayProcess, local_model
from tests.runtime.gateway.sharedstate import chain, new_agent, schema_of, together
from tests.runtime.gateway.storeservers import PostgresServer
from tests.runtime.gateway.upstream import Upstream, running
from tests.waiting import until

__all__ = ["start_gateway"]

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[3]


class _Balance(socketserver.ThreadingTCPServer):
    """One address for several gateways, as a Service of Kubernetes is; whoever does not answer is passed over."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, ports: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.turns = itertools.cycle(ports)
        self.count = len(ports)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Passing(socketserver.BaseRequestHandler):
    server: _Balance

    def handle(self) -> None:
        for _ in range(self.server.count):
            with contextlib.suppress(OSError):
                there = socket.create_connection(("127.0.0.1", next(self.server.turns)), 2)
                there.settimeout(None)
                back = threading.Thread(target=_copy, args=(there, self.request), daemon=True)
                back.start()
                _copy(self.request, there)
                back.join()
                there.close()
                return


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@dataclass
class House:
    """A database, a model, two gateways behind one address, and rooms for agents."""

    name: str
    postgres: PostgresServer
    model: Upstream
    gateways: list[GatewayProcess]
    inner: _Balance
    state: _Balance
    rooms: list[tuple[Path, subprocess.Popen[bytes]]] = field(default_factory=list)

    def agent(self, **more: Any) -> subprocess.Popen[bytes]:
        """Another agent process, in a room of its own."""
        root = Path(tempfile.mkdtemp(prefix="room-"))
        (root / "secrets").mkdir()
        (root / "secrets/agent-token").write_text(AGENT_TOKEN)
        (root / "secrets/checkpoint-key").write_text("0123456789abcdef" * 2)
        config = {
            "agent": self.name,
            "owner": "alice",
            "gateway": f"tcp:127.0.0.1:{self.inner.port}",
            "state": f"tcp:127.0.0.1:{self.state.port}",
            "application_version": "one",
            "instructions": "You are Atlas.",
            "context": 2048,
            "space": "work",
            "workflows": {"brief": {"prompt": "Sum up the quokka day."}},
        }
        (root / "agent.json").write_text(json.dumps(config | more))
        command = [sys.executable, "-m", "paictl.runtime.agent", "--root", str(root), "--config", "agent.json"]
        with (root / "agent.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
            )
        self.rooms.append((root, process))
        return process

    def says(self, which: int, text: str) -> bool:
        return text in (self.rooms[which][0] / "agent.log").read_text()

    def ask(self, which: int, text: str) -> str:
        with self.gateways[which].person() as person:
            answer = person.post(
                "/v1/chat/completions", json={"messages": [{"role": "user", "content": text}]}, timeout=60
            )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    def ready(self, which: int = 0) -> bool:
        with self.gateways[which].person() as person:
            return person.get("/healthz/agent").status_code == 200

    def counts(self, path: str) -> bool:
        """Whether a gateway has answered that path."""
        found = ""
        for gateway in self.gateways:
            with gateway.person() as person:
                found += person.get("/metrics").text
        return f'"{path}"' in found

    def runs(self, which: int = 1) -> list[dict[str, Any]]:
        with self.gateways[which].person() as person:
            return list(person.get("/workflows/brief/runs").json()["runs"])


@pytest.fixture
def house(start_gateway: StartGateway) -> Iterator[House]:
    postgres, name = PostgresServer(), new_agent()
    inner = [free_port(), free_port()]
    with running() as model, contextlib.ExitStack() as ending:
        ending.callback(postgres.discard)
        postgres.initialise()
        postgres.start()
        postgres.create("paictl")
        models = {"chat": local_model(model.endpoint)}
        gateways = [
            together(
                start_gateway,
                postgres,
                name,
                1,
                models=models,
                memory={"spaces": SPACES},
                inner=f"tcp:127.0.0.1:{port}",
            )[0]
            for port in inner
        ]
        state = [int(gateway.config["state"]["listen"].rpartition(":")[2]) for gateway in gateways]
        found = House(name, postgres, model, gateways, _Balance(inner), _Balance(state))
        yield found
        for root, process in found.rooms:
            process.kill()
            process.wait(10)
            shutil.rmtree(root)
        for balance in (found.inner, found.state):
            balance.shutdown()
            balance.server_close()


@pytest.mark.promise(14)
def test_an_agent_that_is_killed_in_the_middle_of_a_run_is_taken_over_by_the_one_that_stands_by(
    house: House, tmp_path: Path
) -> None:
    first = house.agent()
    until(house.ready, "the agent says hello", 120)
    assert house.ask(0, "My sister's name is Ines.") == "Hello from the model"
    assert "Ines" in str(house.model.of("/v1/chat/completions")[-1].body) or house.ask(1, "What is my sister's name?")
    standing = house.agent()
    until(lambda: house.says(1, "standing by"), "the second one stands by", 120)
    until(lambda: house.counts("/agent/standby"), "it shows that it is well")
    held, asked = threading.Event(), len(house.model.of("/v1/chat/completions"))

    def hold(index: int) -> None:
        del index
        held.wait(60)

    house.model.pause = hold
    with house.gateways[0].person() as person:
        assert person.post("/workflows/brief/runs").status_code == 202
    until(lambda: len(house.model.of("/v1/chat/completions")) > asked, "the model is asked")
    house.postgres.ask("CHECKPOINT")
    assert house.postgres.files_with(b"quokka") == [], "what is in flight can't be read there"
    first.kill()
    held.set()
    until(lambda: [run["state"] for run in house.runs()] == ["ended"], "the run ends", 60)
    assert standing.poll() is None
    assert house.ask(1, "Are you there?") == "Hello from the model"
    for gateway in house.gateways:
        gateway.stop()
    records, findings = chain(house.postgres, house.name, tmp_path)
    assert findings == []
    run = [one for one in records if one["run"].startswith("run-brief") and one["kind"] == "decision"]
    assert [one["action"] for one in run] == ["memory.read", "model.use", "model.use"], "only the killed step ran twice"
    for root, _ in house.rooms:
        assert sorted(path.name for path in root.iterdir()) == ["agent.json", "agent.log", "secrets"]


def test_an_agent_goes_on_when_a_gateway_that_it_speaks_through_is_killed(house: House) -> None:
    agent = house.agent()
    until(house.ready, "the agent says hello", 120)
    house.agent()
    until(lambda: house.says(1, "standing by"), "another one stands by", 120)
    assert house.ask(1, "Good morning.") == "Hello from the model"
    house.gateways[0].kill()
    for _ in range(4):
        assert house.ask(1, "Are you there?") == "Hello from the model"
    house.gateways[0].start()
    until(lambda: house.ready(0), "the new gateway knows of the agent without being told")
    assert house.ask(0, "And here?") == "Hello from the model"
    assert agent.poll() is None
    assert not house.says(1, "is up"), "whoever lost its way only is still the agent"
    agent.terminate()
    assert agent.wait(20) == 0


@pytest.mark.promise(23)
def test_the_agents_way_into_the_database_leads_to_its_own_part_only(house: House) -> None:
    def connect(password: str, **more: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1", port=house.state.port, user="paictl", dbname="postgres", password=password, **more
        )

    with pytest.raises(psycopg.OperationalError, match="a valid token is needed"):
        connect("another-token-0123456789")
    with connect(AGENT_TOKEN) as connection:
        who = connection.execute("SELECT current_user, current_database(), session_user").fetchone()
        room = f"paictl_room_{house.name.replace('-', '_')}"
        assert who == (room, "paictl", room)
    records = sql.Identifier(schema_of(house.name), "records")
    for statement in (
        sql.SQL("SELECT * FROM {}").format(records),
        sql.SQL("SET ROLE paictl"),
        sql.SQL("SELECT pg_read_file('PG_VERSION')"),
        sql.SQL("CREATE SCHEMA more"),
        sql.SQL("COPY (SELECT 1) TO PROGRAM 'id'"),
    ):
        with connect(AGENT_TOKEN) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
