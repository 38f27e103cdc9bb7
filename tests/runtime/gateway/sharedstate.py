"""Several gateways of one agent over one Postgres, each with the same keys; and the log that they write together."""

from __future__ import annotations

import base64
import uuid
from pathlib import Path
from typing import Any

from psycopg import sql

from paictl.runtime.gateway.chain import Finding, checkpoints_of, verify_chain
from paictl.runtime.gateway.identity import given
from tests.ports import free_port
from tests.runtime.gateway.conftest import StartGateway
from tests.runtime.gateway.gatewayprocess import GatewayProcess
from tests.runtime.gateway.storeservers import PASSWORD, PostgresServer

__all__ = ["KEYS", "chain", "new_agent", "schema_of", "state", "together"]

KEYS = {
    name: base64.urlsafe_b64encode(name.encode().ljust(32, b".")).decode()
    for name in ("identity-key", "identity-next-key")
}


def new_agent() -> str:
    """A name that no other test has, and so a state of its own in the database."""
    return f"a-{uuid.uuid4().hex[:8]}"


def schema_of(agent: str) -> str:
    return f"paictl_state_{agent.replace('-', '_')}"


def state(postgres: PostgresServer) -> dict[str, Any]:
    """What a configuration says of it."""
    return {
        "state": {
            "endpoint": f"tcp:127.0.0.1:{postgres.port}",
            "secret": "store-password",
            "listen": f"tcp:127.0.0.1:{free_port()}",
        },
        "identity_key_file": "secrets/identity-key",
        "next_key_file": "secrets/identity-next-key",
    }


def together(
    start_gateway: StartGateway, postgres: PostgresServer, agent: str, count: int = 2, **config: Any
) -> list[GatewayProcess]:
    """So many gateways of one agent."""
    secrets = {"store-password": PASSWORD, **KEYS}
    return [start_gateway(secrets=secrets, agent=agent, **state(postgres), **config) for _ in range(count)]


def chain(postgres: PostgresServer, agent: str, folder: Path) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The records of the log, and what is wrong with it."""
    import json

    log = folder / f"{agent}.jsonl"
    for table, path in (("audit", log), ("audit_checkpoints", checkpoints_of(log))):
        rows = postgres.ask(
            sql.SQL("SELECT record FROM {} ORDER BY seq").format(sql.Identifier(schema_of(agent), table))
        )
        path.write_text("".join(f"{row[0]}\n" for row in rows))
    keys = folder / "keys"
    keys.mkdir(exist_ok=True)
    for name, value in KEYS.items():
        (keys / name).write_text(value)
    identity = given(keys / "identity-key", keys / "identity-next-key")
    return [json.loads(line) for line in log.read_text().splitlines()], verify_chain(log, identity.public())
