"""The configuration files of the runtime's programs, as types. The blueprint writes them; the programs read them.

Every program is started as ``python -m paictl.runtime.<program> --root DIR --config PATH`` and works inside ``--root``:
it changes into it first, so all paths here are relative to it and the same in a bubblewrap room, a container and a unit::

    config/<service>/…        what was rendered for it, read-only
    data/<service>/…          what it keeps, its own
    models/<model>/…          weight files, read-only
    secrets/<name>            one file a secret, 0400, on tmpfs
    run/<service>/<endpoint>.sock   where it listens, when services are wired by sockets

An endpoint is an address in one of three forms: ``unix:run/gateway/inner.sock``, ``tcp:127.0.0.1:8700`` or, for what
exists outside, ``http(s)://host:port/v1``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from paictl.manifest.models import ClassName, Permissions, Space

__all__ = [
    "AgentConfig",
    "EmbedServerConfig",
    "GatewayConfig",
    "LlamaServerConfig",
    "MemoryConfig",
    "ModelRoute",
    "ScheduledWorkflow",
    "StateRoute",
    "StoreRoute",
    "load",
]

Endpoint = str


class _Config(BaseModel):
    # A newer paictl may write keys that an older, pinned runtime does not know.
    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class ModelRoute(_Config):
    """One model behind the gateway, as the agent and the memory name it."""

    task: Literal["chat", "embed", "transcribe"]
    endpoint: Endpoint = Field(description="Where its OpenAI-compatible server listens.")
    model: str = Field(description="The name to put into requests to that server.")
    local: bool = Field(description="Whether it runs on the target; private data may reach local models only.")
    classes: list[ClassName] = Field(
        default_factory=list, description="Which data classes may leave to it, when not local."
    )
    secret: str | None = Field(default=None, description="The file under secrets/ that holds its API key.")
    hosts: list[str] = Field(default_factory=list, description="The only hosts that key may be sent to.")
    dimension: int | None = Field(default=None, description="embed: the length of its vectors.")
    fingerprint: str = Field(
        default="", description="embed: the embedding identity, changes when vectors become incomparable."
    )


class StoreRoute(_Config):
    """Where the vectors are kept: beside the records (``embedded``), or on a server that never sees a text."""

    engine: Literal["embedded", "pgvector", "chroma"] = "embedded"
    endpoint: Endpoint = Field(default="", description="tcp:HOST:PORT of one of ours, or the URL of one that exists.")
    managed: bool = Field(
        default=True, description="Whether paictl runs it; of another's, only what is ours is touched."
    )
    secret: str | None = Field(default=None, description="The file under secrets/ that holds its password or token.")
    hosts: list[str] = Field(default_factory=list, description="The only hosts that secret may be sent to.")


class StateRoute(_Config):
    """The database that all gateways of one agent share, and where they let the agent in to its own part of it."""

    endpoint: Endpoint = Field(description="tcp:HOST:PORT of one of ours, or the URL of one that exists.")
    managed: bool = Field(default=True, description="Whether paictl runs it.")
    secret: str | None = Field(default=None, description="The file under secrets/ that holds its password.")
    hosts: list[str] = Field(default_factory=list, description="The only hosts that secret may be sent to.")
    listen: Endpoint = Field(description="For the agent only.")


class MemoryConfig(_Config):
    """The record store and its index."""

    path: str = Field(default="data/gateway/memory.db", description="The SQLite file.")
    embed: str | None = Field(default=None, description="The model that indexes by meaning.")
    store: StoreRoute = Field(default_factory=StoreRoute)
    spaces: dict[str, Space] = Field(default_factory=dict)


class ScheduledWorkflow(_Config):
    """A workflow of the manifest, ready to run."""

    prompt: str
    schedule: str | None = None
    timezone: str = "UTC"
    retries: int = 3
    timeout_seconds: int = 600


class GatewayConfig(_Config):
    """The door."""

    agent: str
    owner: str
    listen: Endpoint = Field(description="For people and clients.")
    names: list[str] = Field(
        default_factory=list,
        description="The names by which people reach it through somebody else's proxy, on any port.",
    )
    inner: Endpoint = Field(description="For the agent only.")
    token_file: str = Field(
        default="secrets/gateway-token", description="The token of the owner, generated at the first apply."
    )
    agent_token_file: str = Field(
        default="secrets/agent-token", description="The token that the agent shows at the inner socket."
    )
    identity_key_file: str = Field(
        default="data/gateway/identity.key", description="The agent's Ed25519 key; made at the first start."
    )
    next_key_file: str = Field(
        default="", description="With shared state: the key that follows; both are given then, and not made."
    )
    state: StateRoute | None = Field(default=None, description="Where its state is shared; None: in files of its own.")
    audit: str = Field(default="data/gateway/audit.jsonl", description="The hash-chained log.")
    models: dict[str, ModelRoute] = Field(default_factory=dict)
    routing: dict[str, list[str]] = Field(default_factory=dict, description="task -> models in order.")
    memory: MemoryConfig = Field(default_factory=MemoryConfig)
    permissions: Permissions = Field(default_factory=Permissions)
    release: str = Field(default="", description="A digest of this configuration; shown by /healthz and /status.")


class AgentConfig(_Config):
    """The room."""

    agent: str
    owner: str
    gateway: Endpoint = Field(description="The one door.")
    token_file: str = "secrets/agent-token"
    checkpoint_key_file: str = Field(
        default="secrets/checkpoint-key", description="Authenticates checkpoints (HMAC-SHA256)."
    )
    database: str = Field(default="data/agent/workflows.db", description="DBOS, SQLite in WAL mode.")
    state: Endpoint = Field(default="", description="Where the gateway lets it in to Postgres instead.")
    instructions: str = ""
    skills: dict[str, str] = Field(default_factory=dict)
    workflows: dict[str, ScheduledWorkflow] = Field(default_factory=dict)
    space: str = Field(default="long-term", description="Where it keeps what outlives a conversation.")
    model: str = Field(default="chat", description="The model (or routed task) that thinks.")
    context: int = 8192
    tools: bool = Field(default=False, description="Whether the model is offered tools.")
    application_version: str = Field(
        description="The digest of instructions, skills and tool pins; work in flight ends on the version it began with."
    )


class LlamaServerConfig(_Config):
    """llama.cpp's server."""

    listen: Endpoint
    model: str = Field(description="The GGUF file.")
    alias: str = Field(description="The name it answers to.")
    context: int = 8192
    threads: int = 1
    parallel: int = 1
    max_tokens: int = Field(default=1024, description="Upper bound of one answer, in tokens.")


class EmbedServerConfig(_Config):
    """The ONNX embedding server: mean pooling, unit length, OpenAI's /v1/embeddings."""

    listen: Endpoint
    model: str = Field(description="The ONNX file.")
    tokenizer: str = Field(description="The tokenizer.json.")
    alias: str
    threads: int = 1
    max_tokens: int = 256


_C = TypeVar("_C", bound=_Config)


def load(kind: type[_C], path: Path) -> _C:
    """Read a configuration file; raises ``pydantic.ValidationError`` naming the field when the file is not of its kind."""
    return kind.model_validate_json(path.read_bytes())
