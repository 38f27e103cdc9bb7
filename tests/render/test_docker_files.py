from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from paictl.blueprint.types import Blueprint, ConfigFile, Upstream, Volume
from paictl.render import docker
from paictl.render.containers import image
from tests.render.blueprints import QUICKSTART, WITH_API_MODEL
from tests.render.reading import documents

SCHEMA = json.loads((Path(__file__).parent / "data" / "compose-spec.json").read_text(encoding="utf-8"))
Compose = dict[str, Any]

# A model server of others: its own user, paths, command and variables, a secret and a graphics card.
_OTHERS = replace(
    QUICKSTART.service("model-chat"),
    module="",
    config=ConfigFile("", ""),
    secrets=("agent-token",),
    volumes=(Volume("others", "/var/lib/others", holds_data=False),),
    upstream=Upstream(
        image="llama.cpp",
        reference="registry.example/others:1@sha256:" + "d" * 64,
        command=("-c", 'exec serve "$1" --home ${HOME}'),
        entrypoint=("/bin/sh",),
        environment={"PRICE": "5 $", "MODE": "on"},
        uid=999,
        scratch=("/run/others", "/tmp"),
        healthy=("serve", "--check"),
    ),
    gpus="nvidia",
)
WITH_OTHERS = replace(QUICKSTART, services=(_OTHERS, *QUICKSTART.services[1:]), base="registry.example/base:1")

every_blueprint = pytest.mark.parametrize(
    "blueprint", [QUICKSTART, WITH_API_MODEL, WITH_OTHERS], ids=["quickstart", "api-model", "others"]
)


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


def test_software_of_others_runs_from_its_image_within_the_same_bounds() -> None:
    document = compose(WITH_OTHERS)
    service, ours = document["services"]["model-chat"], document["services"]["gateway"]
    assert service["image"] == "registry.example/others:1@sha256:" + "d" * 64
    assert (service["user"], service["group_add"]) == ("999:999", ["65532"])
    assert service["entrypoint"] == ["/bin/sh"]
    assert service["healthcheck"]["test"] == ["CMD", "serve", "--check"]
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp", "/run/others"]
    assert {mount["target"] for mount in service["volumes"]} == {"/var/lib/others", "/srv/paictl/models/chat"}
    assert not {"build", "configs"} & {*service}
    bounds = ("read_only", "cap_drop", "security_opt", "init", "restart", "logging")
    assert [service[bound] for bound in bounds] == [ours[bound] for bound in bounds]
    assert "model-chat" not in document["configs"]


def test_a_dollar_sign_is_none_of_composes_variables() -> None:
    service = compose(WITH_OTHERS)["services"]["model-chat"]
    assert service["command"][1] == 'exec serve "$$1" --home $${HOME}'
    assert service["environment"] == {"PRICE": "5 $$", "MODE": "on"}


def test_a_graphics_card_is_asked_for_by_its_maker_and_only_where_it_is_declared() -> None:
    services = compose(WITH_OTHERS)["services"]
    device = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert services["model-chat"]["deploy"] == {"resources": {"reservations": {"devices": [device]}}}
    assert [name for name, service in services.items() if "deploy" in service] == ["model-chat"]


def test_the_image_is_built_upon_what_the_manifest_names() -> None:
    built = [service["build"] for service in compose(WITH_OTHERS)["services"].values() if "build" in service]
    assert [one["args"] for one in built] == [{"BASE": "registry.example/base:1"}]


@every_blueprint
def test_the_image_is_built_once_and_pulled_by_nobody(blueprint: Blueprint) -> None:
    # On newer engines several builds of one name at once end in an error.
    ours = [service for service in compose(blueprint)["services"].values() if service["image"] == image(blueprint)]
    assert sum("build" in service for service in ours) == 1
    assert all("build" in service or service["pull_policy"] == "never" for service in ours)


@every_blueprint
def test_every_container_says_how_it_is_and_has_its_turn_on_the_processors(blueprint: Blueprint) -> None:
    services = compose(blueprint)["services"]
    assert all(service["cpu_shares"] not in {0, 1024} for service in services.values())
    # The jobs have the image's own check.
    assert {name for name, service in services.items() if "healthcheck" not in service} <= {"folders", "weights"}


def test_who_listens_on_nothing_asks_its_witness() -> None:
    agent = QUICKSTART.service("agent")
    heard = replace(agent, health=replace(agent.health, path="/healthz/agent", witness="gateway/http"))
    services = compose(replace(QUICKSTART, services=(*QUICKSTART.services[:-1], heard)))["services"]
    assert services["agent"]["environment"] == {"PAICTL_HEALTH": "http://gateway:8700/healthz/agent"}
    assert services["gateway"]["environment"] == {"PAICTL_HEALTH": "http://127.0.0.1:8700/healthz"}


@every_blueprint
def test_the_machine_has_no_address_in_any_room(blueprint: Blueprint) -> None:
    rooms = [network for network in compose(blueprint)["networks"].values() if network.get("internal")]
    assert rooms
    assert all(room["driver_opts"]["com.docker.network.bridge.inhibit_ipv4"] == "true" for room in rooms)
    assert all(room["enable_ipv6"] is False for room in rooms)


@every_blueprint
def test_the_way_out_is_the_first_of_a_services_networks_by_name(blueprint: Blueprint) -> None:
    # Engines before 28 take the first by name for the default route.
    for service in compose(blueprint)["services"].values():
        if "door" in (its := service.get("networks", [])):
            assert min(its) == "door"


@every_blueprint
def test_everything_carries_whose_and_what_it_is(blueprint: Blueprint) -> None:
    document = compose(blueprint)
    for part in ("services", "networks", "volumes"):
        for name, thing in document[part].items():
            labels = thing["labels"]
            assert (labels["paictl.agent"], labels["paictl.target"]) == (blueprint.agent, blueprint.target)
            assert labels["paictl.name"] == name
            assert labels["paictl.kind"] in {"service", "job", "network", "volume", "weights"}
