"""Where gateway and agent keep what is theirs: in files of their own, or in a Postgres that only the gateway reaches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.types import Blueprint, wire
from paictl.blueprint.unavailable import unavailable
from paictl.runtime.config import AgentConfig, GatewayConfig
from tests.blueprint.manifests import RESOLVED, manifest
from tests.blueprint.test_compile import MODELS

DIGEST = "registry.example/pgvector@sha256:" + "c" * 64
EXTERNAL = (
    '{engine: postgres, manage: external, url: "postgresql://me@db.example/atlas", secret: db, classes: [private]}'
)
SECRET = "  secrets: {db: {from: env, name: DB, hosts: [db.example]}}\n"


def compiled(folder: Path, state: str, store: str = "{engine: pgvector}", more: str = "") -> Blueprint:
    spec = MODELS + f"  state: {state}\n  memory: {{embed: embed, store: {store}, spaces: {{work: {{}}}}}}\n" + more
    images = {"pgvector": DIGEST, "chroma": DIGEST}
    return compile_blueprint(manifest(folder, spec), replace(RESOLVED, images=images))


def wired(blueprint: Blueprint, service: str) -> object:
    return wire(blueprint.service(service).config.content, lambda name, endpoint: f"tcp:{name}:{endpoint}")


def test_with_state_in_postgres_gateway_and_agent_have_no_volume(tmp_path: Path) -> None:
    blueprint = compiled(tmp_path, "{engine: postgres}")
    assert [service.name for service in blueprint.services if service.volumes] == ["state"]
    config = GatewayConfig.model_validate(wired(blueprint, "gateway"))
    assert config.state is not None
    assert config.state.endpoint == "tcp:state:sql"
    assert AgentConfig.model_validate(wired(blueprint, "agent")).state == "tcp:gateway:state"


def test_one_postgres_keeps_the_state_and_the_vectors(tmp_path: Path) -> None:
    blueprint = compiled(tmp_path, "{engine: postgres}")
    assert [service.name for service in blueprint.services if service.role == "store"] == ["state"]
    config = GatewayConfig.model_validate(wired(blueprint, "gateway"))
    assert config.memory.store.endpoint == "tcp:state:sql"
    assert config.memory.store.secret == "state-password"
    assert blueprint.service("gateway").needs == ("state",)


def test_another_store_of_vectors_never_moves_the_state(tmp_path: Path) -> None:
    volumes = {
        volume.name
        for store in ("{engine: pgvector}", "{engine: chroma}")
        for volume in compiled(tmp_path, "{engine: postgres}", store).service("state").volumes
    }
    assert volumes == {"state-pgvector"}
    assert compiled(tmp_path, "{engine: postgres}", "{engine: chroma}").service("gateway").needs == ("state", "store")


@pytest.mark.promise(24)
def test_the_room_keeps_its_one_door_and_no_password(tmp_path: Path) -> None:
    agent = compiled(tmp_path, "{engine: postgres}").service("agent")
    assert agent.neighbours == ("gateway",)
    assert agent.secrets == ("agent-token", "checkpoint-key")


def test_every_gateway_is_given_the_same_identity(tmp_path: Path) -> None:
    blueprint = compiled(tmp_path, "{engine: postgres}")
    generated = {secret.name for secret in blueprint.secrets if secret.generated}
    assert generated >= {"identity-key", "identity-next-key", "state-password"}
    config = GatewayConfig.model_validate(wired(blueprint, "gateway"))
    assert (config.identity_key_file, config.next_key_file) == ("secrets/identity-key", "secrets/identity-next-key")


@pytest.mark.promise(13)
def test_an_external_database_is_connected_to_and_never_run(tmp_path: Path) -> None:
    store = EXTERNAL.replace("postgres,", "pgvector,")
    blueprint = compiled(tmp_path, EXTERNAL, store, SECRET)
    assert [service.name for service in blueprint.services if service.role == "store"] == []
    gateway = blueprint.service("gateway")
    assert gateway.egress == ("db.example:5432",)
    assert "db" in gateway.secrets
    config = GatewayConfig.model_validate(wired(blueprint, "gateway"))
    assert config.state is not None
    assert (config.state.managed, config.state.secret, config.state.hosts) == (False, "db", ["db.example"])


def test_embedded_state_is_as_it_was(tmp_path: Path) -> None:
    blueprint = compiled(tmp_path, "{engine: embedded}")
    assert [volume.name for volume in blueprint.service("gateway").volumes] == ["gateway"]
    content = blueprint.service("gateway").config.content
    assert isinstance(content, dict)
    assert "state" not in content
    assert blueprint.service("agent").reaches == ("gateway/inner",)


@pytest.mark.parametrize(("driver", "said"), [("native", 1), ("docker", 0), ("kubernetes", 0)])
def test_one_machine_without_containers_keeps_its_state_in_files(tmp_path: Path, driver: str, said: int) -> None:
    asked = manifest(tmp_path, MODELS + "  state: {engine: postgres}\n")
    assert len([one for one in unavailable(asked, driver) if "state in Postgres" in one.summary]) == said


def test_one_machine_runs_one_of_each_also_with_shared_state(tmp_path: Path) -> None:
    asked = manifest(
        tmp_path, MODELS + "  state: {engine: postgres}\n  scale: {gateway: {replicas: 2}, agent: {max: 2}}\n"
    )
    said = [one.summary for one in unavailable(asked, "docker")]
    assert [one.partition(" is ")[0] for one in said] == ["more than one gateway", "more than one agent"]
