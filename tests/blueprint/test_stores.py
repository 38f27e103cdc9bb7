from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.types import Blueprint, wire
from paictl.runtime.config import GatewayConfig
from tests.blueprint.manifests import RESOLVED, manifest
from tests.blueprint.test_compile import MODELS

MEMORY = "  memory: {{embed: embed, store: {}, spaces: {{work: {{}}}}}}\n"
DIGEST = "registry.example/pgvector@sha256:" + "c" * 64


def compiled(folder: Path, store: str, more: str = "") -> Blueprint:
    spec = MODELS + MEMORY.format(store) + more
    return compile_blueprint(manifest(folder, spec), replace(RESOLVED, images={"pgvector": DIGEST}))


def gateway_config(blueprint: Blueprint) -> GatewayConfig:
    return GatewayConfig.model_validate(
        wire(blueprint.service("gateway").config.content, lambda service, endpoint: f"tcp:{service}:{endpoint}")
    )


def names(blueprint: Blueprint) -> list[str]:
    return [service.name for service in blueprint.services]


def test_the_embedded_store_is_no_service_and_changes_nothing_of_the_gateway(tmp_path: Path) -> None:
    blueprint = compiled(tmp_path, "{engine: embedded}")
    assert "store" not in names(blueprint)
    content = blueprint.service("gateway").config.content
    assert isinstance(content, dict)
    assert "store" not in content["memory"]


@pytest.mark.parametrize(("engine", "endpoint"), [("pgvector", "sql"), ("chroma", "http")])
@pytest.mark.promise(22)
def test_a_managed_store_is_reached_by_the_gateway_and_by_nobody_else(
    tmp_path: Path, engine: str, endpoint: str
) -> None:
    blueprint = compiled(tmp_path, f"{{engine: {engine}}}")
    reaching = [service.name for service in blueprint.services if f"store/{endpoint}" in service.reaches]
    assert reaching == ["gateway"]
    assert blueprint.service("gateway").needs == ("store",)
    store = blueprint.service("store")
    assert (store.role, store.reaches, store.egress, store.room) == ("store", (), (), True)
    assert store.holds_data
    assert not any(one.public for one in store.endpoints)
    assert store.origin is not None
    assert store.origin.line == 9
    assert gateway_config(blueprint).memory.store.endpoint == f"tcp:store:{endpoint}"


def test_two_engines_never_share_a_volume(tmp_path: Path) -> None:
    volumes = {
        compiled(tmp_path, f"{{engine: {engine}}}").service("store").volumes[0].name
        for engine in ("pgvector", "chroma")
    }
    assert volumes == {"store-pgvector", "store-chroma"}


def test_postgres_runs_by_its_locked_digest_with_a_generated_password_in_a_file(tmp_path: Path) -> None:
    blueprint = compiled(tmp_path, "{engine: pgvector}")
    store = blueprint.service("store")
    assert store.upstream is not None
    assert store.upstream.reference == DIGEST
    assert store.secrets == ("store-password",)
    [secret] = [secret for secret in blueprint.secrets if secret.name == "store-password"]
    assert secret.generated
    assert "store-password" in blueprint.service("gateway").secrets
    assert store.upstream.environment["POSTGRES_PASSWORD_FILE"] == f"/srv/paictl/{secret.path}"
    assert "POSTGRES_PASSWORD" not in store.upstream.environment
    assert "fsync=on" in store.upstream.command
    assert store.upstream.environment["PGDATA"].startswith(store.volumes[0].path + "/")


def test_chroma_keeps_its_data_in_its_volume_and_tells_nobody(tmp_path: Path) -> None:
    store = compiled(tmp_path, "{engine: chroma}").service("store")
    assert store.upstream is not None
    assert store.volumes[0].path in store.upstream.command
    assert store.upstream.environment["ANONYMIZED_TELEMETRY"] == "FALSE"
    assert store.secrets == ()


@pytest.mark.parametrize(
    ("store", "place"),
    [
        (
            '{engine: pgvector, manage: external, url: "postgresql://me@db.example/memories", secret: db, classes: [private]}',
            "db.example:5432",
        ),
        (
            '{engine: pgvector, manage: external, url: "postgresql://me@db.example:6000/m", secret: db, classes: [private]}',
            "db.example:6000",
        ),
        (
            '{engine: chroma, manage: external, url: "https://db.example", secret: db, classes: [private]}',
            "db.example:443",
        ),
    ],
)
@pytest.mark.promise(13)
def test_an_external_store_is_connected_to_and_never_run(tmp_path: Path, store: str, place: str) -> None:
    blueprint = compiled(tmp_path, store, "  secrets: {db: {from: env, name: DB, hosts: [db.example]}}\n")
    assert "store" not in names(blueprint)
    gateway = blueprint.service("gateway")
    assert gateway.egress == (place,)
    assert gateway.needs == ()
    assert "db" in gateway.secrets
    route = gateway_config(blueprint).memory.store
    assert not route.managed
    assert (route.secret, route.hosts) == ("db", ["db.example"])
    assert route.endpoint in store
