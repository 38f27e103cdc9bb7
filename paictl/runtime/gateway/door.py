"""Everything the two doors share: the parts of one gateway, opened and closed together, and how a session ends."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from paictl.runtime.config import GatewayConfig, StateRoute
from paictl.runtime.gateway.audit import AuditLog, Log
from paictl.runtime.gateway.identity import Identity, given, load_or_create
from paictl.runtime.gateway.ledger import Ledger, limits
from paictl.runtime.gateway.memory.port import Embedding
from paictl.runtime.gateway.memory.service import Memory, in_file
from paictl.runtime.gateway.memory.stores import vector_store
from paictl.runtime.gateway.metrics import Metrics
from paictl.runtime.gateway.policy import Policy, Verdict
from paictl.runtime.gateway.routing import Conversations
from paictl.runtime.gateway.upstream import Upstreams
from paictl.runtime.gateway.work import WorkQueue

if TYPE_CHECKING:
    from paictl.runtime.gateway.shared.conversations import SharedConversations
    from paictl.runtime.gateway.shared.ledger import SharedLedger
    from paictl.runtime.gateway.shared.parts import Shared
    from paictl.runtime.gateway.shared.queue import SharedQueue

__all__ = ["AGENT", "Door"]

# The agent's name in the audit log. A person can't be called that: names have no colon.
AGENT = "agent:self"
_PROBED_SECONDS = 1.0


@dataclass
class Door:
    """One gateway's parts."""

    config: GatewayConfig
    identity: Identity
    metrics: Metrics
    audit: Log
    policy: Policy
    ledger: Ledger | SharedLedger
    memory: Memory
    upstreams: Upstreams
    conversations: Conversations | SharedConversations
    work: WorkQueue | SharedQueue = field(default_factory=WorkQueue)
    shared: Shared | None = None
    _probed: tuple[float, list[str]] = (-1e9, [])

    @classmethod
    def build(cls, config: GatewayConfig) -> Door:
        """Read keys, open files. Raises ``ValueError`` or ``OSError`` with what a person has to mend."""
        if config.state is not None:
            return cls._build_shared(config, config.state)
        metrics = Metrics()
        identity = load_or_create(Path(config.identity_key_file))
        upstreams = Upstreams(config.models)
        store = Path(config.memory.path)
        keeping = in_file(store, vector_store(config.memory.store))
        return cls(
            config=config,
            identity=identity,
            metrics=metrics,
            audit=AuditLog(Path(config.audit), identity, metrics),
            policy=Policy(config.permissions, config.owner),
            ledger=Ledger(store.with_name("ledger.db"), limits(config.permissions.budget)),
            memory=Memory(keeping, config.memory.spaces, _embedding(config, upstreams)),
            upstreams=upstreams,
            conversations=Conversations(config.owner),
        )

    @classmethod
    def _build_shared(cls, config: GatewayConfig, route: StateRoute) -> Door:
        # A gateway over files has no use for any of it.
        from paictl.runtime.gateway.shared.parts import Shared

        metrics = Metrics()
        identity = given(Path(config.identity_key_file), Path(config.next_key_file))
        token = Path(config.agent_token_file).read_text(encoding="ascii").strip()
        shared = Shared.build(route, config.agent, identity, token)
        upstreams = Upstreams(config.models)
        keeping = shared.keeping(vector_store(config.memory.store))
        return cls(
            config=config,
            identity=identity,
            metrics=metrics,
            audit=shared.audit(metrics),
            policy=Policy(config.permissions, config.owner),
            ledger=shared.ledger(limits(config.permissions.budget)),
            memory=Memory(keeping, config.memory.spaces, _embedding(config, upstreams)),
            upstreams=upstreams,
            conversations=shared.conversations(config.owner),
            work=shared.queue(),
            shared=shared,
        )

    async def open(self) -> None:
        if self.shared is not None:
            await self.shared.open(self.memory)
        await self.audit.open()
        await self.ledger.open()
        await self.memory.open()
        await self.work.open()

    async def close(self) -> None:
        await self.upstreams.close()
        await self.work.end()
        await self.memory.close()
        self.ledger.close()
        await self.audit.end()
        if self.shared is not None:
            await self.shared.close()

    async def missing(self) -> list[str]:
        """What keeps the gateway from being ready; asked at most once a second, since anybody may ask."""
        at, found = self._probed
        if time.monotonic() - at > _PROBED_SECONDS:
            local = [name for name, route in self.config.models.items() if route.local]
            answers = await asyncio.gather(*(self.upstreams.answers(name) for name in local))
            found = [f"model {name}" for name, answered in zip(local, answers, strict=True) if not answered]
            found += [f"memory store: {self.memory.problem}"] if self.memory.problem else []
            self._probed = (time.monotonic(), found)
        return found if await self.work.ready() else [*found, "agent"]

    async def end_session(self, session: str) -> int:
        """What was remembered for a conversation alone is gone with it."""
        await self.conversations.forget(session)
        return await self.memory.end_session(session)

    async def spaces_of(self, session: str, action: str) -> list[str]:
        """The spaces in which the person behind a conversation may do that."""
        principal = (await self.conversations.of(session)).principal
        return [name for name in self.config.memory.spaces if self.policy.decide(principal, action, name).allowed]

    async def may_use(self, session: str, action: str, space: str) -> Verdict:
        """Whether the agent may do that to a space, in the name of the person it speaks with."""
        self.memory.space(space)
        verdict = self.policy.decide((await self.conversations.of(session)).principal, action, space)
        return Verdict(verdict.allowed, f"spec.memory.spaces.{space}, {verdict.rule}")


def _embedding(config: GatewayConfig, upstreams: Upstreams) -> Embedding | None:
    name = config.memory.embed
    if name is None:
        return None
    route = config.models.get(name)
    if route is None or route.task != "embed":
        raise ValueError(f"memory.embed names {name!r}, which is not a model with task embed")
    allowed = set(route.classes or ["public"])
    beyond = [space for space, declared in config.memory.spaces.items() if declared.class_ not in allowed]
    if not route.local and beyond:
        raise ValueError(f"memory.embed: {name!r} does not run here and may not see what is in {', '.join(beyond)}")

    async def embed(texts: list[str]) -> list[list[float]]:
        return await upstreams.embed(name, texts)

    return Embedding(embed, route.fingerprint or f"{name}:{route.model}", route.dimension)
