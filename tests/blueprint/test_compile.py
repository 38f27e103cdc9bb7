from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest
from pydantic import BaseModel

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.types import wire
from paictl.manifest.load import load
from paictl.runtime.config import AgentConfig, EmbedServerConfig, GatewayConfig, LlamaServerConfig
from tests.blueprint.manifests import QUICKSTART, RESOLVED, manifest

MODELS = f"""\
  models:
    chat: {{task: chat, source: "file:///x.gguf", sha256: {"a" * 64}}}
    embed: {{task: embed, source: "file:///y.onnx", sha256: {"b" * 64}, tokenizer: {{source: "file:///t.json"}}}}
"""


def _address(service: str, endpoint: str) -> str:
    return f"unix:run/{service}/{endpoint}.sock"


def test_the_quickstart_becomes_two_model_servers_one_door_and_one_room() -> None:
    blueprint = compile_blueprint(load([QUICKSTART], env={}), RESOLVED)
    assert [service.name for service in blueprint.services] == ["model-chat", "model-embed", "gateway", "agent"]
    assert [service.name for service in blueprint.services if not service.room] == ["gateway"]


def test_the_agent_reaches_the_inner_door_and_nothing_else() -> None:
    agent = compile_blueprint(load([QUICKSTART], env={}), RESOLVED).service("agent")
    assert agent.reaches == ("gateway/inner",)
    assert agent.egress == ()
    assert agent.endpoints == ()


def test_compiling_twice_gives_the_same_blueprint() -> None:
    first, second = (compile_blueprint(load([QUICKSTART], env={}), RESOLVED) for _ in range(2))
    assert json.dumps(asdict(first), sort_keys=True) == json.dumps(asdict(second), sort_keys=True)


def test_the_runtime_reads_what_the_blueprint_writes() -> None:
    blueprint = compile_blueprint(load([QUICKSTART], env={}), RESOLVED)
    kinds: dict[str, type[BaseModel]] = {
        "gateway": GatewayConfig,
        "agent": AgentConfig,
        "model-chat": LlamaServerConfig,
        "model-embed": EmbedServerConfig,
    }
    for name, kind in kinds.items():
        wired = wire(blueprint.service(name).config.content, _address)
        # Every key that is written must be one that is read: a misspelt one would be ignored in silence.
        assert isinstance(wired, dict)
        assert set(wired) <= set(kind.model_fields), name
        kind.model_validate(wired)


def test_an_api_model_is_reached_by_the_gateway_only_and_its_key_is_bound_to_its_hosts(tmp_path: Path) -> None:
    spec = MODELS + (
        '    cloud: {task: chat, manage: external, url: "https://llm.example/v1", model: big, secret: api}\n'
        "  secrets: {api: {from: env, name: API_KEY, hosts: [llm.example]}}\n"
    )
    blueprint = compile_blueprint(manifest(tmp_path, spec), RESOLVED)
    gateway = blueprint.service("gateway")
    assert gateway.egress == ("llm.example:443",)
    assert "api" in gateway.secrets
    assert all("api" not in service.secrets for service in blueprint.services if service.name != "gateway")
    wired = GatewayConfig.model_validate(wire(gateway.config.content, _address))
    assert wired.models["cloud"].hosts == ["llm.example"]
    assert wired.models["cloud"].classes == ["public"]
    assert not wired.models["cloud"].local


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1:11434", True), ("localhost:1", True), ("[::1]:1", True), ("192.0.2.1", False)]
)
def test_a_server_on_this_very_machine_counts_as_local(tmp_path: Path, host: str, local: bool) -> None:
    spec = f'  models: {{chat: {{task: chat, manage: external, url: "http://{host}/v1", model: small}}}}\n'
    gateway = compile_blueprint(manifest(tmp_path, spec), RESOLVED).service("gateway")
    wired = GatewayConfig.model_validate(wire(gateway.config.content, _address))
    assert wired.models["chat"].local is local
    assert gateway.reaches == ()


def test_a_declared_secret_that_nothing_uses_is_not_brought_to_the_target(tmp_path: Path) -> None:
    spec = MODELS + "  secrets: {spare: {from: env, name: SPARE}}\n"
    blueprint = compile_blueprint(manifest(tmp_path, spec), RESOLVED)
    assert "spare" not in {secret.name for secret in blueprint.secrets}


_SPEC = f"""\
  instructions: Be brief.
  models:
    chat: {{task: chat, context: "2048", source: "file:///x.gguf", sha256: {"a" * 64}}}
    embed: {{task: embed, source: "file:///y.onnx", sha256: {"b" * 64}, tokenizer: {{source: "file:///t.json"}}}}
  memory: {{embed: embed, spaces: {{long-term: {{retain: forever}}}}}}
  permissions: {{budget: {{calls: 100/day}}}}
  workflows: {{reflect: {{schedule: "0 22 * * *", prompt: Reflect.}}}}
"""


@pytest.mark.parametrize(
    ("old", "new", "touched"),
    [
        ("Be brief", "Be thorough", ["agent"]),
        ("0 22", "0 21", ["agent"]),
        ("Reflect.", "Rest.", ["agent"]),
        ("100/day", "200/day", ["gateway"]),
        ("retain: forever", "retain: 90d", ["gateway"]),
        ("task: chat,", "task: chat, threads: 3,", ["model-chat"]),
        # What it is asked is cut to what it can read.
        ('"2048"', '"1024"', ["model-chat", "agent"]),
    ],
)
def test_one_changed_line_changes_what_follows_from_it_and_nothing_else(
    tmp_path: Path, old: str, new: str, touched: list[str]
) -> None:
    assert old in _SPEC
    before = compile_blueprint(manifest(tmp_path, _SPEC), RESOLVED)
    after = compile_blueprint(manifest(tmp_path, _SPEC.replace(old, new)), RESOLVED)
    changed = [
        name
        for name in ("model-chat", "model-embed", "gateway", "agent")
        if before.service(name).config.content != after.service(name).config.content
    ]
    assert changed == touched


@pytest.mark.parametrize(("parameters", "offered"), [(135_000_000, False), (4_000_000_000, True)])
def test_small_models_are_not_offered_tools(tmp_path: Path, parameters: int, offered: bool) -> None:
    from dataclasses import replace

    models = {**RESOLVED.models, "chat": replace(RESOLVED.models["chat"], parameters=parameters)}
    blueprint = compile_blueprint(manifest(tmp_path, MODELS), replace(RESOLVED, models=models))
    content = blueprint.service("agent").config.content
    assert isinstance(content, dict)
    assert content["tools"] is offered


@pytest.mark.parametrize(
    ("spaces", "chosen"),
    [
        ("brief: {retain: session}, work: {retain: 365d}, home: {}", "work"),
        ("brief: {retain: session}", "long-term"),
    ],
)
def test_statements_go_to_the_first_space_that_outlives_a_conversation(
    tmp_path: Path, spaces: str, chosen: str
) -> None:
    spec = MODELS + f"  memory: {{spaces: {{{spaces}}}}}\n"
    content = compile_blueprint(manifest(tmp_path, spec), RESOLVED).service("agent").config.content
    assert isinstance(content, Mapping)
    assert content["space"] == chosen
