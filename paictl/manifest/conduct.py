"""What an agent may do, what it does by itself and what must stay true of it, as types. ``models.py`` puts them together."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field

from paictl.manifest.quantities import Duration, Money, Rate
from paictl.manifest.sections import ClassName, Name, Strict, Text, Url

__all__ = [
    "Backup",
    "Budget",
    "Continuity",
    "Encrypt",
    "Fact",
    "Federation",
    "Files",
    "Identity",
    "Mcp",
    "Orchestration",
    "Peer",
    "Permissions",
    "Person",
    "Role",
    "Tool",
    "Updates",
    "Workflow",
]


class Files(Strict):
    """Files the agent may use: exactly one of dir, s3 or gdrive."""

    dir: str | None = Field(default=None, description="A directory of this machine.", examples=["~/Papers"])
    s3: str | None = Field(
        default=None, pattern=r"^s3://.+", description="A bucket and prefix.", examples=["s3://bucket/assets"]
    )
    gdrive: str | None = Field(default=None, description="A Google Drive folder's id.")
    access: Literal["read", "read-write"] = Field(default="read", description="What may be done there.")
    class_: ClassName = Field(default="private", alias="class", description="The data class of what is read there.")
    secret: Name | None = Field(default=None, description="The declared secret that opens it.")


class Mcp(Strict):
    """An MCP server: started by command, or reached at url."""

    command: list[str] | None = Field(
        default=None, min_length=1, description="The command that starts it, spoken to over stdio."
    )
    url: Url | None = Field(default=None, description="Where it listens (streamable HTTP).")


class Tool(Strict):
    """Something the agent may do in the world: exactly one of openapi, mcp, http, webhook or n8n."""

    openapi: str | None = Field(
        default=None, description="An OpenAPI description, relative to the manifest.", examples=["apis/zotero.yaml"]
    )
    mcp: Mcp | None = Field(default=None, description="An MCP server.", examples=[{"command": ["mcp-server-notes"]}])
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


class Person(Strict):
    """A person with a role."""

    role: Name = Field(description="owner, or a role declared under roles.")


class Role(Strict):
    """What a role may do."""

    may: list[Annotated[str, Field(pattern=r"^[a-z]+(\.[a-z]+)*(:[A-Za-z0-9_*./-]+)?$")]] = Field(
        description="Actions, each with an optional resource: chat, memory.read:work, workflow.run:brief."
    )


class Budget(Strict):
    """What the agent may use up."""

    tokens: Rate | None = Field(default=None, description="Model tokens.", examples=["2M/day"])
    money: Money | None = Field(default=None, description="Money spent at API providers.", examples=["2 USD/day"])
    calls: Rate | None = Field(default=None, description="Model and tool calls.", examples=["5000/day"])


class Permissions(Strict):
    """Who may do what. Whatever is not permitted here is denied."""

    people: dict[Name, Name | Person] = Field(
        default_factory=dict,
        description="People and their roles.",
        examples=[{"alice": "owner", "bob": {"role": "assistant"}}],
    )
    roles: dict[Name, Role] = Field(
        default_factory=dict,
        description="Roles beside owner.",
        examples=[{"assistant": {"may": ["chat", "memory.read:work"]}}],
    )
    budget: Budget = Field(
        default_factory=Budget.model_construct,
        description="What may be used up.",
        examples=[{"tokens": "2M/day", "money": "2 USD/day", "calls": "5000/day"}],
    )

    def digest(self) -> str:
        """Changes when somebody may do something else than before: what the gateway says it enforces, and continuity compares."""
        rules = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return "sha256:" + hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


class Workflow(Strict):
    """Something the agent does by itself."""

    schedule: str | None = Field(
        default=None, description="When, as a cron expression with five fields.", examples=["0 22 * * *"]
    )
    timezone: str = Field(default="UTC", description="The IANA time zone of the schedule.", examples=["Europe/Lisbon"])
    prompt: Text = Field(description="What it is asked to do.")
    retries: int = Field(default=3, ge=0, le=100, description="How often a failed step is tried again.")
    timeout: Duration = Field(default="10m", description="After how long a run is given up.")


class Orchestration(Strict):
    """What keeps workflows durable."""

    engine: Literal["embedded", "postgres", "temporal", "n8n"] = Field(default="embedded", description="The engine.")
    manage: Literal["managed", "external"] = Field(
        default="managed", description="external: one that exists already, at url."
    )
    url: str | None = Field(default=None, description="external: where it is.")
    secret: Name | None = Field(default=None, description="external: the declared secret that opens it.")


class Identity(Strict):
    """The agent's cryptographic identity."""

    rotate: Duration = Field(default="90d", description="How often its keys are rotated.")


class Peer(Strict):
    """Another person's agent."""

    key: str = Field(pattern=r"^pai:.+", description="Its identity.", examples=["pai:mfzwizlsmruxg2lomeqhg5dsmvqw24dp"])
    url: Url = Field(description="Where it listens.")


class Federation(Strict):
    """Agents that share patterns, never raw data."""

    peers: dict[Name, Peer] = Field(default_factory=dict, description="Other agents, by name.")
    share: list[Literal["skills", "counters", "prompts", "tools", "preferences"]] = Field(
        default_factory=list, description="What is shared with them.", examples=[["skills", "counters"]]
    )


class Encrypt(Strict):
    """Whom a backup is encrypted to."""

    age: list[Annotated[str, Field(pattern=r"^(age1|ssh-)")]] = Field(min_length=1, description="age recipients.")


class Backup(Strict):
    """Where and how often everything the agent knows and is gets backed up."""

    to: str = Field(
        pattern=r"^(file|s3)://.+", description="The place: a folder or a bucket.", examples=["file:///srv/backup"]
    )
    every: Duration = Field(default="24h", description="How often.")
    encrypt: Encrypt = Field(
        description="Whom to encrypt to.",
        examples=[{"age": ["age1mdutynyzcg2ava295k0fp7x83xtjlx2d90nzy44wrdc8t6qeac3s7992yu"]}],
    )
    keep: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=14, description="How many backups stay; the oldest beyond them are removed."
    )
    secret: Name | None = Field(default=None, description="The declared secret that opens the place.")


class Fact(Strict):
    """A question whose answer must not be lost."""

    ask: str = Field(min_length=1, description="What the agent is asked.")
    expect: str = Field(min_length=1, description="What its answer must contain, whatever the case of the letters.")


class Continuity(Strict):
    """What must still be true after any change, or the change is undone."""

    facts: list[Fact] = Field(
        default_factory=list,
        description="Questions with their answers.",
        examples=[[{"ask": "Who is my manager?", "expect": "Dana"}]],
    )
    checks: list[Literal["identity", "memory", "schedules", "permissions"]] = Field(
        default_factory=list, description="What must be as it was: identity, memory, schedules, permissions."
    )


_ALICE = "alice@example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPm9mM7cAlE2sBy0d7fVJwAXCYp7tyr8ONpv4vRvN9gV"
# Who, options, kind of key, key, and whatever remark: ssh-keygen(1), ALLOWED SIGNERS.
_SIGNER = r"^[^\s#]+ +(\S+ +)?(ssh-|ecdsa-|sk-)\S+ +[A-Za-z0-9+/]+=*( .*)?$"


class Updates(Strict):
    """Following a git repository."""

    git: str = Field(
        pattern=r"^([a-z]+://|[A-Za-z0-9_][A-Za-z0-9_.-]*@[^\s/:\"'\\-][^\s/:\"'\\]*:)[^\s\"'\\-][^\s\"'\\]*$",
        description="The repository: https://…, ssh://… or git@host:…; its head is followed.",
        examples=["https://git.example.org/alice/agents.git"],
    )
    path: str = Field(default=".", description="The folder in it that holds agent.yaml.")
    every: Duration = Field(default="5m", description="How often to look.")
    verify: Literal["signed-commits", "none"] = Field(default="signed-commits", description="What a commit must prove.")
    signers: list[Annotated[str, Field(pattern=_SIGNER, examples=[_ALICE])]] = Field(
        default_factory=list,
        description="Who may sign: lines of an allowed signers file of ssh, such as `alice@example.org ssh-ed25519 AAAA…`.",
        examples=[
            ["alice@example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPm9mM7cAlE2sBy0d7fVJwAXCYp7tyr8ONpv4vRvN9gV"]
        ],
    )
    key: Name | None = Field(
        default=None, description="The declared secret with the private ssh key that may read a repository behind ssh."
    )
    known_hosts: list[Annotated[str, Field(pattern=r"^[^\s#]+ +\S.*$")]] = Field(
        default_factory=list,
        alias="known-hosts",
        description="The keys of that repository's host, as lines of known_hosts.",
        examples=[["git.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPm9mM7cAlE2sBy0d7fVJwAXCYp7tyr8ONpv4vRvN9gV"]],
    )
    on_failure: Literal["rollback", "stop"] = Field(
        default="rollback", alias="on-failure", description="What to do when an update fails."
    )
