"""What a conversation is, known to all gateways: it may go on at another one than it began at."""

from __future__ import annotations

from paictl.manifest.models import ClassName
from paictl.runtime.gateway.routing import CLASSES, Conversation
from paictl.runtime.gateway.shared.postgres import Connection, Postgres, only

__all__ = ["SharedConversations"]

_REMEMBERED_DAYS = 30


class SharedConversations:
    """The table of conversations. One that it does not know (a schedule's, a very old one) is private."""

    def __init__(self, postgres: Postgres, owner: str) -> None:
        self._postgres = postgres
        self._unknown = Conversation(owner)

    async def of(self, session: str) -> Conversation:
        found = await self._postgres.run(_of, session) if session else None
        return found or self._unknown

    async def enter(self, session: str, principal: str, label: ClassName | None) -> Conversation:
        """A person speaks: a class sticks and only ever rises; what came in under the higher one is still in there."""
        return await self._postgres.run(_enter, session, principal, label)

    async def saw(self, session: str, label: ClassName) -> None:
        """Data of that class came into the conversation."""
        await self._postgres.run(_saw, session, label)

    async def forget(self, session: str) -> None:
        await self._postgres.run(_forget, session)


async def _of(connection: Connection, session: str) -> Conversation | None:
    query = await connection.execute("SELECT principal, rank FROM conversations WHERE session = %s", (session,))
    row = await query.fetchone()
    return Conversation(str(row[0]), CLASSES[row[1]]) if row else None


async def _enter(connection: Connection, session: str, principal: str, label: ClassName | None) -> Conversation:
    await connection.execute(
        "DELETE FROM conversations WHERE spoken < now() - make_interval(days => %s)", (_REMEMBERED_DAYS,)
    )
    wanted = CLASSES.index(label) if label else None
    query = await connection.execute(
        "INSERT INTO conversations (session, principal, rank) VALUES (%(session)s, %(principal)s, coalesce(%(rank)s, %(most)s))"
        " ON CONFLICT (session) DO UPDATE SET principal = excluded.principal, spoken = now(),"
        " rank = greatest(conversations.rank, coalesce(%(rank)s, 0)) RETURNING rank",
        {"session": session, "principal": principal, "rank": wanted, "most": len(CLASSES) - 1},
    )
    (rank,) = await only(query)
    return Conversation(principal, CLASSES[rank])


async def _saw(connection: Connection, session: str, label: ClassName) -> None:
    rank = CLASSES.index(label)
    statement = "UPDATE conversations SET rank = %s WHERE session = %s AND rank < %s"
    await connection.execute(statement, (rank, session, rank))


async def _forget(connection: Connection, session: str) -> None:
    await connection.execute("DELETE FROM conversations WHERE session = %s", (session,))
