"""The statements of ``SharedQueue``: each function runs in one transaction over the tables of what is in flight."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import LiteralString

from paictl.runtime.gateway.shared.exchange import Exchange
from paictl.runtime.gateway.shared.postgres import Connection
from paictl.runtime.gateway.work import LIFE_SECONDS, Hello

__all__ = [
    "Greeting",
    "Place",
    "Taken",
    "begin",
    "busy",
    "cut",
    "fetch",
    "forget",
    "greeting",
    "offer",
    "put_back",
    "say",
    "seen",
    "strays",
    "take",
    "way",
    "welcome",
]


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the agent said when it came up, and whether it has shown signs of life since, at any gateway."""

    hello: Hello
    alive: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """Work for the agent, sealed."""

    id: str
    kind: str
    payload: bytes
    gateway: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer goes: the work, the agent's attempt, the gateway that waits."""

    work: str
    reply: str
    gateway: int


async def greeting(connection: Connection) -> Greeting | None:
    """What is known of the agent; None: it did not say hello."""
    query = "SELECT hello, seen > now() - make_interval(secs => %s) FROM greeting"
    row = await (await connection.execute(query, (LIFE_SECONDS,))).fetchone()
    if row is None:
        return None
    workflows = row[0]["workflows"]
    return Greeting(Hello(row[0]["schedules"], None if workflows is None else frozenset(workflows)), bool(row[1]))


async def welcome(connection: Connection, hello: Hello, exchange: Exchange) -> None:
    """The agent (re)started: what its predecessor took and did not begin to answer waits again."""
    workflows = None if hello.workflows is None else sorted(hello.workflows)
    said = json.dumps({"schedules": hello.schedules, "workflows": workflows})
    await connection.execute(
        "INSERT INTO greeting VALUES (true, %s, now()) ON CONFLICT (one) DO UPDATE SET hello = excluded.hello, seen = now()",
        (said,),
    )
    await connection.execute("UPDATE work SET state = 'waiting' WHERE state = 'taken'")
    await exchange.tell(connection, "work")


async def seen(connection: Connection) -> None:
    """A sign of life."""
    await connection.execute("UPDATE greeting SET seen = now()")


async def busy(connection: Connection, seconds: float) -> bool:
    """Whether there was one within that time: then it has much to do, and will come to it."""
    query = "SELECT 1 FROM greeting WHERE seen > now() - make_interval(secs => %s)"
    return await (await connection.execute(query, (seconds,))).fetchone() is not None


async def offer(connection: Connection, work: str, kind: str, sealed: bytes, *, exchange: Exchange, most: int) -> bool:
    """Have it wait; False when too much does already."""
    waiting = await (await connection.execute("SELECT count(*) FROM work WHERE state = 'waiting'")).fetchone()
    if waiting is not None and waiting[0] >= most:
        return False
    await connection.execute(
        "INSERT INTO work (id, kind, payload, gateway) VALUES (%s, %s, %s, %s)", (work, kind, sealed, exchange.number)
    )
    await exchange.tell(connection, "work")
    return True


_TAKE: LiteralString = (
    "UPDATE work SET state = 'taken' WHERE id = (SELECT id FROM work WHERE state = 'waiting'"
    " AND (kind != 'chat' OR gateway IN (SELECT number FROM alive))"
    " ORDER BY position LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, kind, payload, gateway"
)


async def take(connection: Connection, exchange: Exchange) -> Taken | None:
    """The next piece of work that somebody waits for."""
    row = await (await connection.execute(_TAKE)).fetchone()
    if row is None:
        return None
    taken = Taken(*row)
    if taken.kind == "chat":
        await exchange.tell(connection, "taken", taken.id, to=taken.gateway)
    else:
        await connection.execute("DELETE FROM work WHERE id = %s", (taken.id,))
    return taken


async def put_back(connection: Connection, taken: Taken, exchange: Exchange) -> None:
    """Nobody was given it after all."""
    if taken.kind == "chat":
        await connection.execute("UPDATE work SET state = 'waiting' WHERE id = %s AND state = 'taken'", (taken.id,))
    else:
        await connection.execute(
            "INSERT INTO work (id, kind, payload, gateway) VALUES (%s, %s, %s, %s)",
            (taken.id, taken.kind, taken.payload, taken.gateway),
        )
    await exchange.tell(connection, "work")


async def begin(connection: Connection, work: str, reply: str, exchange: Exchange) -> int | None:
    """An answer begins to come, or comes again: which gateway waits for it. None: nobody does, or not for this attempt."""
    found = await connection.execute(
        "UPDATE work SET state = 'begun', reply = %(reply)s, via = %(via)s"
        " WHERE id = %(work)s AND (state != 'begun' OR reply = %(reply)s) RETURNING gateway",
        {"work": work, "reply": reply, "via": exchange.number},
    )
    row = await found.fetchone()
    return int(row[0]) if row else None


async def say(connection: Connection, place: Place, number: int, sealed: bytes, exchange: Exchange) -> bool:
    """One event of an answer, for the gateway that waits; False when it does no more."""
    there = await connection.execute(
        "SELECT 1 FROM work WHERE id = %s AND reply = %s FOR KEY SHARE", (place.work, place.reply)
    )
    if await there.fetchone() is None:
        return False
    await connection.execute(
        "INSERT INTO events VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (place.work, number, sealed)
    )
    await exchange.tell(connection, "event", place.work, to=place.gateway)
    return True


async def fetch(connection: Connection, work: str) -> list[tuple[int, bytes]]:
    """The events that came through other gateways, in order, once."""
    rows = await connection.execute("DELETE FROM events WHERE work = %s RETURNING number, payload", (work,))
    return sorted([(int(row[0]), bytes(row[1])) async for row in rows])


async def cut(connection: Connection, work: str, number: int) -> None:
    """The answer broke off on its way through this gateway."""
    await connection.execute("UPDATE work SET via = 0 WHERE id = %s AND via = %s", (work, number))


async def way(connection: Connection, work: str, number: int) -> bool | None:
    """Whether an answer still comes, or has yet to begin; None when its row is gone. ``number`` is this gateway's own."""
    query: LiteralString = (
        "SELECT state != 'begun' OR via = %s OR via IN (SELECT number FROM alive) FROM work WHERE id = %s"
    )
    row = await (await connection.execute(query, (number, work))).fetchone()
    return bool(row[0]) if row else None


async def forget(connection: Connection, work: str) -> None:
    """Nobody waits for it any more."""
    await connection.execute("DELETE FROM work WHERE id = %s", (work,))


async def strays(connection: Connection, gone: set[int]) -> set[int]:
    """Remove what belonged to gateways that were gone before and still are; gives those that are gone now."""
    query: LiteralString = (
        "SELECT DISTINCT gateway FROM work WHERE kind = 'chat' AND gateway NOT IN (SELECT number FROM alive)"
    )
    found = {int(row[0]) async for row in await connection.execute(query)}
    removed = list(found & gone)
    if removed:
        await connection.execute("DELETE FROM work WHERE kind = 'chat' AND gateway = ANY(%s)", (removed,))
    return found
