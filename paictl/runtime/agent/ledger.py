"""DBOS as this agent uses it: one SQLite file or its part of a shared database, sealed, quiet, emptied of what nobody needs.

Called by ``service``, which holds the process's one DBOS. What a conversation was about must not outlive it here: a
finished turn's checkpoints are erased at once (overwritten, log included; after a crash within ten minutes), a finished
run's after a day, and so is what an older version began and nobody can end any more.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig
from sqlalchemy import Engine, event

from paictl.runtime.agent.checkpoints import EncryptedJson, SealedJson, load_key, refuse_unsealed
from paictl.runtime.config import AgentConfig

__all__ = ["erase", "erase_finished", "open_ledger"]

_RUNS_KEPT = timedelta(days=1)


def open_ledger(config: AgentConfig, shared: Engine | None = None) -> None:
    """Make the database ready and describe it to DBOS; ``shared`` is one that is reached through the gateway.

    Raises ``OSError`` or ``ValueError`` when the key is unusable.
    """
    key = load_key(Path(config.checkpoint_key_file))
    refuse_unsealed()
    settings: DBOSConfig = {
        "name": config.agent,
        "application_version": config.application_version,
        # One agent at a time works (``shared.Tenure``), and takes up what the one before it began.
        "executor_id": "agent",
        "serializer": SealedJson(key) if shared is None else EncryptedJson(key),
        "log_level": "WARNING",
        "enable_otlp": False,
        "max_executor_threads": 8,
        "sys_db_pool_size": 4,
        # Nothing here waits for DBOS's notifications or schedules; their threads need not wake a small machine.
        "notification_listener_polling_interval_sec": 60.0,
        "scheduler_polling_interval_sec": 3600.0,
    }
    DBOS(config=settings | (_in_file(config) if shared is None else _in_database(config, shared)))
    # DBOS writes to its own handler, with tracebacks; ours writes one line.
    library = logging.getLogger("dbos")
    library.handlers.clear()
    library.propagate = True


def _in_file(config: AgentConfig) -> DBOSConfig:
    database = Path(config.database)
    database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # DBOS opens SQLite as it finds it, and the file itself remembers that it is in WAL mode.
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    event.listen(Engine, "connect", _careful)
    return {"system_database_url": f"sqlite:///{database}"}


def _in_database(config: AgentConfig, shared: Engine) -> DBOSConfig:
    from paictl.runtime.agent.shared import schema

    # The URL is never connected to; it says which kind of database the engine is of.
    url = shared.url.set(password=None).render_as_string()
    return {
        "system_database_url": url,
        "system_database_engine": shared,
        "dbos_system_schema": schema(config),
        "use_listen_notify": False,
    }


def _careful(connection: Any, _record: object) -> None:
    # The power cord of a Pi may be pulled; and what is deleted is overwritten.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")


async def erase(config: AgentConfig, runs: list[str]) -> None:
    """Erase workflows that are over, with everything they wrote down."""
    if runs:
        await DBOS.delete_workflows_async(runs)
        if config.state:
            # What stays of it in the database's files was never readable there.
            return
        with closing(sqlite3.connect(config.database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def erase_finished(config: AgentConfig) -> None:
    """Erase what a crash left behind of finished turns, and after a day finished runs and what an older version began."""
    over = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
    long_ago = (datetime.now(UTC) - _RUNS_KEPT).isoformat()
    turns = await DBOS.list_workflows_async(name="chat", status=over, load_input=False, load_output=False)
    runs = await DBOS.list_workflows_async(
        name="run", status=over, completed_before=long_ago, load_input=False, load_output=False
    )
    begun = await DBOS.list_workflows_async(
        status=["PENDING", "ENQUEUED"], end_time=long_ago, load_input=False, load_output=False
    )
    stranded = [one for one in begun if one.app_version != config.application_version]
    await erase(config, [one.workflow_id for one in (*turns, *runs, *stranded)])
