"""The manifest ``pai/v1alpha1`` as one type, with all of its sections: the one place to import them from.

The JSON Schema, ``paictl explain`` and the reference in the documentation are generated from here, and the runtime reads
the same types; so a description is written once. Unknown keys are errors; ``x-*`` keys are taken out before.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from paictl.manifest.conduct import (
    Backup,
    Budget,
    Continuity,
    Fact,
    Federation,
    Files,
    Identity,
    Mcp,
    Orchestration,
    Peer,
    Permissions,
    Person,
    Role,
    Tool,
    Updates,
    Workflow,
)
from paictl.manifest.placement import Cluster, Scale, ServiceName
from paictl.manifest.sections import (
    ClassName,
    Deployment,
    DriverName,
    Gateway,
    Host,
    ImageName,
    Include,
    Memory,
    Metadata,
    Model,
    Name,
    Secret,
    Select,
    Space,
    Store,
    Strict,
    Target,
    Text,
    Tokenizer,
    Vpn,
)
from paictl.manifest.state import State

__all__ = [
    "API_VERSION",
    "Agent",
    "Backup",
    "Budget",
    "ClassName",
    "Cluster",
    "Continuity",
    "Deployment",
    "DriverName",
    "Fact",
    "Federation",
    "Files",
    "Gateway",
    "Host",
    "Identity",
    "ImageName",
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
    "Scale",
    "Secret",
    "Select",
    "Space",
    "Spec",
    "State",
    "Store",
    "Target",
    "Text",
    "Tokenizer",
    "Tool",
    "Updates",
    "Vpn",
    "Workflow",
]

API_VERSION = "pai/v1alpha1"


class Spec(Strict):
    """Everything about the agent."""

    instructions: Text = Field(
        default="You are a helpful personal agent.",
        description="Who the agent is and how it behaves.",
        examples=[{"file": "prompts/atlas.md"}, "You are Atlas. Be brief."],
    )
    skills: dict[Name, Text] = Field(
        default_factory=dict,
        description="What it knows how to do; text that is read when it applies.",
        examples=[{"brief": {"file": "skills/brief.md"}}],
    )
    deployment: Deployment = Field(
        default_factory=Deployment.model_construct,
        description="Which deployment model, and where it lives.",
        examples=[{"model": "edge", "target": "laptop"}],
    )
    targets: dict[Name, Target] = Field(
        min_length=1, description="The places where it can live, by name.", examples=[{"laptop": {"driver": "native"}}]
    )
    images: dict[ImageName, Annotated[str, Field(min_length=1, pattern=r"^\S+$")]] = Field(
        default_factory=dict,
        description="Docker and Kubernetes: the container images to use in place of the published ones. base: what the "
        "runtime's own is built upon (it has Python 3.11 or newer); registry: the host, or host/path, that all images not "
        "named here come from.",
        examples=[{"base": "registry.example.org/python:3.12-slim", "registry": "registry.example.org/mirror"}],
    )
    scale: dict[ServiceName, Scale] = Field(
        default_factory=dict,
        description="Kubernetes: how many of each run, by the names of services: gateway, agent, or model-NAME of a local model.",
        examples=[{"gateway": {"replicas": 2, "max": 5, "cpu": 70}, "model-chat": {"replicas": 2}}],
    )
    state: State = Field(
        default_factory=State.model_construct,
        description="Where gateway and agent keep what is theirs; in Postgres, several of them can run.",
        examples=[{"engine": "postgres"}],
    )
    gateway: Gateway = Field(
        default_factory=Gateway.model_construct,
        description="Where people and clients reach it.",
        examples=[{"bind": "127.0.0.1", "port": 8700}],
    )
    secrets: dict[Name, Secret] = Field(
        default_factory=dict,
        description="Secrets, declared once and used by name.",
        examples=[{"zotero": {"from": "env", "name": "ZOTERO_KEY", "hosts": ["api.zotero.org"]}}],
    )
    models: dict[Name, Model] = Field(
        default_factory=dict,
        description="Models, by name.",
        examples=[{"chat": {"task": "chat", "select": {"context": "8k", "quality": "best-fit"}}}],
    )
    routing: dict[Literal["chat", "embed", "transcribe"], list[Name]] = Field(
        default_factory=dict,
        description="Which models serve a task, in order; the declared order by default.",
        examples=[{"chat": ["chat", "cloud"]}],
    )
    memory: Memory = Field(
        default_factory=Memory.model_construct,
        description="What it remembers.",
        examples=[{"embed": "embed", "spaces": {"work": {"class": "private", "retain": "forever"}}}],
    )
    files: dict[Name, Files] = Field(
        default_factory=dict,
        description="Files it may use.",
        examples=[{"papers": {"dir": "~/Papers", "access": "read", "class": "private"}}],
    )
    tools: dict[Name, Tool] = Field(
        default_factory=dict,
        description="What it may do in the world.",
        examples=[{"notes": {"mcp": {"command": ["mcp-server-notes"]}, "allow": ["read_*"], "approve": ["write_*"]}}],
    )
    permissions: Permissions = Field(
        default_factory=Permissions.model_construct,
        description="Who may do what.",
        examples=[{"people": {"bob": {"role": "guest"}}, "roles": {"guest": {"may": ["chat"]}}}],
    )
    workflows: dict[Name, Workflow] = Field(
        default_factory=dict,
        description="What it does by itself.",
        examples=[{"reflect": {"schedule": "0 22 * * *", "prompt": {"file": "prompts/reflect.md"}}}],
    )
    orchestration: Orchestration = Field(
        default_factory=Orchestration.model_construct,
        description="What keeps workflows durable.",
        examples=[{"engine": "embedded"}],
    )
    identity: Identity = Field(
        default_factory=Identity.model_construct,
        description="Its cryptographic identity.",
        examples=[{"rotate": "90d"}],
    )
    federation: Federation | None = Field(
        default=None,
        description="Agents it shares patterns with.",
        examples=[
            {"peers": {"carol": {"key": "pai:mfzwizls", "url": "https://carol.example.org"}}, "share": ["skills"]}
        ],
    )
    backup: Backup | None = Field(
        default=None,
        description="Where it is backed up.",
        examples=[
            {
                "to": "file:///srv/backup",
                "every": "24h",
                "encrypt": {"age": ["age1mdutynyzcg2ava295k0fp7x83xtjlx2d90nzy44wrdc8t6qeac3s7992yu"]},
            }
        ],
    )
    continuity: Continuity = Field(
        default_factory=Continuity.model_construct,
        description="What must survive every change.",
        examples=[{"facts": [{"ask": "Who is my manager?", "expect": "Dana"}], "checks": ["identity", "memory"]}],
    )
    updates: Updates | None = Field(
        default=None,
        description="The repository it follows.",
        examples=[
            {
                "git": "https://git.example.org/alice/agents.git",
                "path": "atlas",
                "every": "5m",
                "signers": [
                    "alice@example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPm9mM7cAlE2sBy0d7fVJwAXCYp7tyr8ONpv4vRvN9gV"
                ],
            }
        ],
    )


class Agent(Strict):
    """A personal agent, declared."""

    apiVersion: Literal["pai/v1alpha1"] = Field(description="The manifest's version.")  # noqa: N815 - the field's name in the file
    kind: Literal["Agent"] = Field(description="Always Agent.")
    metadata: Metadata = Field(description="Whose agent it is and what it is called.")
    spec: Spec = Field(description="Everything about the agent.")
    overlays: dict[Name, dict[str, object]] = Field(
        default_factory=dict,
        description="What differs by target: merged over the manifest when that target is applied.",
        examples=[{"pi": {"spec": {"models": {"chat": {"select": {"quality": "fast"}}}}}}],
    )
