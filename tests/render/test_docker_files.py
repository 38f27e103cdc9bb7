from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from paictl.blueprint.types import Blueprint
from paictl.render import docker
from tests.render.blueprints import QUICKSTART, WITH_API_MODEL
from tests.render.reading import documents

SCHEMA = json.loads((Path(__file__).parent / "data" / "compose-spec.json").read_text(encoding="utf-8"))
Compose = dict[str, Any]

every_blueprint = pytest.mark.parametrize("blueprint", [QUICKSTART, WITH_API_MODEL], ids=["quickstart", "api-model"])


def compose(blueprint: Blueprint) -> Compose:
    [document] = documents(docker.files(blueprint)["compose.yaml"])
    return document


def weaknesses(document: Compose) -> list[str]:
    """What section 5 of the CIS Docker benchmark, and the picture of one room with one door, would find wanting."""
    wanted: Mapping[str, Callable[[Compose], bool]] = {
        "read-only": lambda service: service.get("read_only") is True,
        "capabilities": lambda service: service.get("cap_drop") == ["ALL"] and not service.get("cap_add"),
        "new privileges": lambda service: "no-new-privileges:true" in service.get("security_opt", []),
        "user": lambda service: service.get("user", "0").split(":")[0] not in {"0", "root"},
        "pids": lambda service: 0 < service.get("pids_limit", 0) <= 1024,
        "memory": lambda service: (
            bool(service.get("mem_limit")) and service["mem_limit"] == service.get("memswap_limit")
        ),
        "privileged": lambda service: not service.get("privileged"),
        "host": lambda service: not {"pid", "ipc", "devices"} & set(service) and service.get("network_mode") != "host",
        "loopback": lambda service: all(port.startswith("127.0.0.1:") for port in service.get("ports", [])),
        "bind mounts": lambda service: all(mount["type"] == "volume" for mount in service.get("volumes", [])),
        "restart": lambda service: service.get("restart") in {"unless-stopped", "no"},
    }
    return [
        f"{name}: {what}"
        for name, service in document["services"].items()
        for what, holds in wanted.items()
        if not holds(service)
    ]


@every_blueprint
def test_compose_accepts_the_file_by_its_own_schema(blueprint: Blueprint) -> None:
    jsonschema.validate(compose(blueprint), SCHEMA)


def test_the_schema_is_one_that_refuses() -> None:
    broken = compose(QUICKSTART)
    broken["services"]["agent"]["read_onyl"] = True
    with pytest.raises(jsonschema.ValidationError, match="read_onyl"):
        jsonschema.validate(broken, SCHEMA)


@every_blueprint
def test_every_container_is_hardened(blueprint: Blueprint) -> None:
    assert weaknesses(compose(blueprint)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("read_only", False),
        ("cap_drop", []),
        ("cap_add", ["NET_ADMIN"]),
        ("security_opt", []),
        ("user", "0"),
        ("pids_limit", 0),
        ("mem_limit", None),
        ("privileged", True),
        ("network_mode", "host"),
        ("ports", ["8701:8701"]),
        ("volumes", [{"type": "bind", "source": "/var/run/docker.sock", "target": "/s"}]),
    ],
)
def test_a_container_that_lost_one_bound_is_found(key: str, value: object) -> None:
    broken = deepcopy(compose(QUICKSTART))
    broken["services"]["agent"][key] = value
    assert [found for found in weaknesses(broken) if found.startswith("agent: ")]


@every_blueprint
def test_the_agent_shares_a_network_with_the_gateway_alone(blueprint: Blueprint) -> None:
    document = compose(blueprint)
    networks = {name: set(service.get("networks", [])) for name, service in document["services"].items()}
    assert {name for name, its in networks.items() if its & networks["agent"]} == {"agent", "gateway"}
    assert all(document["networks"][name].get("internal") for name in networks["agent"])


@every_blueprint
def test_services_share_a_network_exactly_where_the_blueprint_has_an_arrow(blueprint: Blueprint) -> None:
    document = compose(blueprint)
    networks = {name: set(service.get("networks", [])) for name, service in document["services"].items()}
    arrows = {
        frozenset((service.name, reached.partition("/")[0]))
        for service in blueprint.services
        for reached in service.reaches
    }
    shared = {
        frozenset((one, other))
        for one in networks
        for other in networks
        if one < other and networks[one] & networks[other]
    }
    assert shared == arrows


def leaving(document: Compose) -> set[str]:
    ways_out = {
        name
        for name, network in document["networks"].items()
        if not network.get("internal")
        and network["driver_opts"]["com.docker.network.bridge.enable_ip_masquerade"] == "true"
    }
    return {name for name, service in document["services"].items() if ways_out & set(service.get("networks", []))}


def test_nothing_leaves_but_what_is_declared() -> None:
    assert leaving(compose(QUICKSTART)) == {"weights"}
    assert leaving(compose(WITH_API_MODEL)) == {"gateway"}


def test_addresses_are_names_for_others_and_everywhere_for_itself() -> None:
    files = docker.files(QUICKSTART)
    gateway = json.loads(files["config/gateway/gateway.json"])
    assert gateway["listen"] == "tcp:0.0.0.0:8700"
    assert gateway["models"]["chat"]["endpoint"] == "tcp:model-chat:8080"
    assert json.loads(files["config/agent/agent.json"])["gateway"] == "tcp:gateway:8701"


def test_who_needs_another_waits_until_it_is_healthy() -> None:
    services = compose(QUICKSTART)["services"]
    assert services["agent"]["depends_on"] == {"gateway": {"condition": "service_healthy"}}
    assert services["model-chat"]["depends_on"] == {"weights": {"condition": "service_completed_successfully"}}


def test_secrets_are_references_to_files_and_each_service_sees_its_own() -> None:
    document = compose(WITH_API_MODEL)
    assert all(set(secret) == {"file"} for secret in document["secrets"].values())
    assert {one["source"] for one in document["services"]["agent"]["secrets"]} == {"agent-token", "checkpoint-key"}
    assert "anthropic" in {one["source"] for one in document["services"]["gateway"]["secrets"]}


def test_a_changed_configuration_changes_its_container_and_no_other() -> None:
    agent = QUICKSTART.service("agent")
    assert isinstance(agent.config.content, Mapping)
    changed = replace(
        agent, config=replace(agent.config, content={**agent.config.content, "instructions": "Be brief."})
    )
    other = replace(QUICKSTART, services=tuple(changed if one is agent else one for one in QUICKSTART.services))
    before, after = compose(QUICKSTART)["services"], compose(other)["services"]
    assert [name for name in before if before[name] != after[name]] == ["agent"]


def test_everything_the_file_names_is_rendered_beside_it() -> None:
    files = docker.files(WITH_API_MODEL)
    document = compose(WITH_API_MODEL)
    assert all(config["file"].removeprefix("./") in files for config in document["configs"].values())
    assert {"image/Dockerfile", "image/requirements.txt", "image/source/paictl/runtime/config.py"} <= set(files)
    assert set(document["volumes"]) >= {"gateway", "agent", "models-chat"}


def test_the_image_is_built_in_two_stages_by_hash_and_runs_as_nobody() -> None:
    lines = docker.files(QUICKSTART)["image/Dockerfile"].splitlines()
    assert sum(line.startswith("FROM ") for line in lines) == 2
    assert any("--require-hashes" in line for line in lines)
    assert any(line.startswith("HEALTHCHECK ") for line in lines)
    assert [line for line in lines if line.startswith("USER ")] == ["USER 65532:65532"]
