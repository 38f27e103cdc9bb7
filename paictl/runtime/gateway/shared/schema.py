"""The tables of the shared state, and the part of the database that is the agent's own. Called once at each gateway's start.

Tables of what is in flight are unlogged: never in the write-ahead log, and empty after a crash of the server, as a
gateway's memory is after a crash of it. Their contents are sealed by the gateways.
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import sql

__all__ = ["TURNS", "make"]

TURNS: tuple[LiteralString, ...] = ("audit", "ledger", "memory")
"""What only one gateway at a time may do."""

_VERSION = 1
# Any number, the same in every version: who makes the tables, while others wait.
_MAKING = 7028466

_TABLES: LiteralString = """
CREATE TABLE records (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text NOT NULL UNIQUE,
  text text NOT NULL,
  digest bytea NOT NULL,
  scope text NOT NULL,
  space text NOT NULL,
  session text NOT NULL,
  created double precision NOT NULL,
  expires double precision,
  run text NOT NULL,
  length integer NOT NULL,
  embedding text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX records_once ON records (scope, digest);
CREATE INDEX records_expiring ON records (expires) WHERE expires IS NOT NULL;
CREATE INDEX records_session ON records (session) WHERE session != '';
CREATE INDEX records_embedding ON records (embedding);
CREATE TABLE words (
  scope text NOT NULL,
  lexeme text NOT NULL,
  number bigint NOT NULL REFERENCES records ON DELETE CASCADE,
  occurrences integer NOT NULL,
  PRIMARY KEY (scope, lexeme, number)
);
-- What the planner would note of texts and words stays in its own tables after they are forgotten.
ALTER TABLE records ALTER text SET STATISTICS 0;
ALTER TABLE words ALTER lexeme SET STATISTICS 0;
CREATE INDEX words_number ON words (number);
CREATE TABLE owed (number bigint PRIMARY KEY);
CREATE TABLE answers (key text PRIMARY KEY, answer text NOT NULL, created double precision NOT NULL);
CREATE TABLE indexes (
  position bigint GENERATED ALWAYS AS IDENTITY,
  name text PRIMARY KEY,
  engine text NOT NULL,
  fingerprint text NOT NULL,
  dimension integer NOT NULL,
  complete boolean NOT NULL DEFAULT false
);
CREATE TABLE spent (
  unit text NOT NULL, period bigint NOT NULL, since bigint NOT NULL, used bigint NOT NULL, PRIMARY KEY (unit, period)
);
CREATE TABLE runs (
  run text PRIMARY KEY, workflow text NOT NULL, state text NOT NULL, detail text NOT NULL,
  began double precision NOT NULL, changed double precision NOT NULL
);
CREATE INDEX runs_workflow ON runs (workflow, began);
CREATE TABLE audit (seq bigint PRIMARY KEY, record text NOT NULL);
CREATE TABLE audit_checkpoints (seq bigint PRIMARY KEY, record text NOT NULL);
CREATE TABLE conversations (
  session text PRIMARY KEY, principal text NOT NULL, rank integer NOT NULL, spoken timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conversations_spoken ON conversations (spoken);
CREATE UNLOGGED TABLE greeting (one boolean PRIMARY KEY CHECK (one), hello jsonb NOT NULL, seen timestamptz NOT NULL);
CREATE UNLOGGED TABLE work (
  position bigint GENERATED ALWAYS AS IDENTITY,
  id text PRIMARY KEY,
  kind text NOT NULL,
  payload bytea NOT NULL,
  gateway integer NOT NULL,
  state text NOT NULL DEFAULT 'waiting',
  reply text NOT NULL DEFAULT '',
  via integer NOT NULL DEFAULT 0
);
CREATE INDEX work_waiting ON work (position) WHERE state = 'waiting';
CREATE UNLOGGED TABLE events (
  work text NOT NULL REFERENCES work ON DELETE CASCADE, number integer NOT NULL, payload bytea NOT NULL, PRIMARY KEY (work, number)
);
CREATE TEXT SEARCH DICTIONARY stem (TEMPLATE = snowball, Language = english);
CREATE TEXT SEARCH CONFIGURATION words (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR
  asciiword, word, numword, asciihword, hword, numhword, hword_asciipart, hword_part, hword_numpart WITH stem;
-- The gateways that listen: each by the name of its connection. Only gateways have the role that counts.
CREATE VIEW alive AS
  SELECT split_part(application_name, ' ', 2)::integer AS number FROM pg_stat_activity
  WHERE datname = current_database() AND usename = current_user
  AND application_name ~ ('^' || current_schema() || ' [0-9]+$');
CREATE TABLE version (number integer NOT NULL);
"""


async def make(
    connection: psycopg.AsyncConnection[Any], schema: str, room: str, room_password: str, *, managed: bool
) -> None:
    """Bring the database to this version; does nothing where it is. Raises ``psycopg.Error`` and, for what is newer, ``ValueError``."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
        known = await _version(connection, schema)
        if known is not None and known > _VERSION:
            raise ValueError(f"the state in {schema} was written by a newer paictl; upgrade this one")
        if known is None:
            await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
            await connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(schema)))
            await connection.execute(_TABLES)
            for turn in TURNS:
                await connection.execute(f"CREATE TABLE turn_{turn} ()")
            await connection.execute("INSERT INTO version VALUES (%s)", (_VERSION,))
        await _make_room(connection, room, room_password, managed=managed)


async def _version(connection: psycopg.AsyncConnection[Any], schema: str) -> int | None:
    found = await (await connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{schema}.version",))).fetchone()
    if found is None or not found[0]:
        return None
    table = sql.Identifier(schema, "version")
    row = await (await connection.execute(sql.SQL("SELECT max(number) FROM {}").format(table))).fetchone()
    return int(row[0]) if row else None


async def _make_room(connection: psycopg.AsyncConnection[Any], room: str, password: str, *, managed: bool) -> None:
    """The agent's role and schema: it can log in, and see nothing but what it makes there itself."""
    name = sql.Identifier(room)
    known = await (await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (room,))).fetchone()
    login = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}" if known else "CREATE ROLE {} LOGIN PASSWORD {}")
    # Salted here: a server's log may show the statement.
    salted = connection.pgconn.encrypt_password(password.encode(), room.encode(), b"scram-sha-256").decode()
    await connection.execute(login.format(name, sql.Literal(salted)))
    await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
    await connection.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA {} TO {}").format(name, name))
    if managed:
        database = sql.Identifier(connection.info.dbname)
        await connection.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database))
