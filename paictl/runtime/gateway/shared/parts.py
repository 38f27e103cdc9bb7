"""Puts the shared rooms together: the one place that the door calls when a configuration names a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paictl.runtime.config import StateRoute
from paictl.runtime.gateway.identity import Identity
from paictl.runtime.gateway.ledger import Limit
from paictl.runtime.gateway.memory.indexing import Stores
from paictl.runtime.gateway.memory.port import VectorStore
from paictl.runtime.gateway.memory.service import Keeping, Memory
from paictl.runtime.gateway.metrics import Metrics
from paictl.runtime.gateway.pgserver import PgServer
from paictl.runtime.gateway.shared.audit import SharedAudit
from paictl.runtime.gateway.shared.catalog import SharedCatalog
from paictl.runtime.gateway.shared.conversations import SharedConversations
from paictl.runtime.gateway.shared.exchange import Exchange
from paictl.runtime.gateway.shared.ledger import SharedLedger
from paictl.runtime.gateway.shared.postgres import Postgres, Turn
from paictl.runtime.gateway.shared.queue import SharedQueue
from paictl.runtime.gateway.shared.records import SharedRecords
from paictl.runtime.gateway.shared.relay import Relay
from paictl.runtime.gateway.shared.sealing import Seal

__all__ = ["Shared"]


@dataclass(slots=True)
class Shared:
    """What one gateway has open of the state that it shares."""

    route: StateRoute
    postgres: Postgres
    exchange: Exchange
    relay: Relay
    _identity: Identity

    @classmethod
    def build(cls, route: StateRoute, agent: str, identity: Identity, token: str) -> Shared:
        """Reach nothing yet. Raises ``ValueError`` for an address that is none."""
        postgres = Postgres(PgServer(route.endpoint, route.managed, route.secret, route.hosts, "state"), agent)
        relay = Relay(postgres.server, postgres.room, _room_password(identity), token)
        return cls(route, postgres, Exchange(postgres), relay, identity)

    def audit(self, metrics: Metrics) -> SharedAudit:
        return SharedAudit(self.postgres, self._identity, metrics)

    def ledger(self, limits: Sequence[Limit]) -> SharedLedger:
        return SharedLedger(self.postgres, limits)

    def conversations(self, owner: str) -> SharedConversations:
        return SharedConversations(self.postgres, owner)

    def queue(self) -> SharedQueue:
        return SharedQueue(self.postgres, self.exchange, Seal(self._identity.derive("work in flight")))

    def keeping(self, store: VectorStore | None) -> Keeping:
        """Where the memory is kept; vectors in a store that is not of this process."""
        return Keeping(
            records=SharedRecords(self.postgres),
            catalog=SharedCatalog(self.postgres),
            stores=Stores(store, None),
            writing=Turn(self.postgres, "memory"),
            leads=self.exchange.leads,
            owing=self._owe,
        )

    async def open(self, memory: Memory) -> None:
        """Find the database, begin to listen, let the agent in. Raises ``ValueError`` or ``OSError`` when that can't be."""
        await self.postgres.open(_room_password(self._identity))
        self.exchange.hear("memory", lambda _: memory.nudge())
        await self.exchange.open()
        await self.relay.open(self.route.listen)

    async def close(self) -> None:
        await self.relay.close()
        await self.exchange.close()
        await self.postgres.close()

    def _owe(self) -> None:
        self.exchange.say_soon("memory")


def _room_password(identity: Identity) -> str:
    return identity.derive("room of the agent in the database").hex()
