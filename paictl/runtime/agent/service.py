"""The agent as a process: it says hello, fetches its work, keeps its schedules, and leaves in order when told to.

Started by ``__main__``. It holds the one DBOS of the process and decides nothing about answers.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

from dbos import DBOS, DBOSConfig, SetWorkflowID

from paictl.runtime.agent.checkpoints import SealedJson, load_key, refuse_unsealed
from paictl.runtime.agent.door import Door, DoorError, Work
from paictl.runtime.agent.schedules import Schedules
from paictl.runtime.agent.turns import Turns
from paictl.runtime.config import AgentConfig

__all__ = ["serve"]

log = logging.getLogger(__name__)

# One model slot is the rule on small machines; a few turns at once keep memory and tools busy meanwhile.
_POLLERS = 4
_LONG_POLL_SECONDS = 25.0
_AGAIN_SECONDS = 0.5
# Shorter than the ten seconds that supervisors wait before they kill.
_GRACE_SECONDS = 6.0


async def serve(config: AgentConfig, token: str, stop: asyncio.Event) -> None:
    """Be the agent until ``stop``; turns still running then are ended by the next life of the process."""
    door = Door(config.gateway, token)
    _prepare(config)
    turns = Turns(config, door, token)
    schedules = Schedules(config.workflows, Path(config.database).with_name("schedules.json"))
    DBOS.launch()
    busy: set[asyncio.Task[None]] = set()
    stranger = asyncio.Event()
    stranger.set()
    tasks = [asyncio.create_task(_fetch(door, turns, stranger, busy)) for _ in range(_POLLERS)]
    tasks.append(asyncio.create_task(_keep(schedules, turns)))
    tasks.append(asyncio.create_task(_greet(door, config, stranger)))
    log.info("agent %s is up, version %s", config.agent, config.application_version)
    await stop.wait()
    for task in tasks:
        task.cancel()
    if busy:
        await asyncio.wait(busy, timeout=_GRACE_SECONDS)
    await door.close()
    log.info("agent %s leaves", config.agent)


def _prepare(config: AgentConfig) -> None:
    """Make the database ready and describe it to DBOS: quiet, local, sealed."""
    database = Path(config.database)
    database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # DBOS opens SQLite as it finds it. WAL is kept by the file itself; synchronous=FULL is SQLite's default, and
    # stays so: a Pi's power cord may be pulled.
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    refuse_unsealed()
    settings: DBOSConfig = {
        "name": config.agent,
        "system_database_url": f"sqlite:///{database}",
        "application_version": config.application_version,
        "executor_id": "agent",
        "serializer": SealedJson(load_key(Path(config.checkpoint_key_file))),
        "log_level": "WARNING",
        "enable_otlp": False,
        "max_executor_threads": 8,
        "sys_db_pool_size": 4,
        # Nothing here waits for DBOS's notifications or schedules; their threads need not wake a small machine.
        "notification_listener_polling_interval_sec": 60.0,
        "scheduler_polling_interval_sec": 3600.0,
    }
    DBOS(config=settings)
    # DBOS writes to its own handler, with tracebacks; ours writes one line.
    library = logging.getLogger("dbos")
    library.handlers.clear()
    library.propagate = True


async def _greet(door: Door, config: AgentConfig, stranger: asyncio.Event) -> None:
    """Say hello at the start and to every new gateway, never to one that knows us: it would offer running work again."""
    schedules = {name: workflow.schedule for name, workflow in config.workflows.items() if workflow.schedule}
    while True:
        await stranger.wait()
        try:
            await door.hello(config.application_version, schedules)
            stranger.clear()
        except DoorError as problem:
            log.info("no hello yet: %s", problem)
            await asyncio.sleep(_AGAIN_SECONDS)


async def _fetch(door: Door, turns: Turns, stranger: asyncio.Event, busy: set[asyncio.Task[None]]) -> None:
    """Fetch work and do it, one piece at a time."""
    while True:
        try:
            work = await door.work(_LONG_POLL_SECONDS)
        except DoorError as problem:
            log.debug("no work to be had: %s", problem)
            if problem.unreached:
                stranger.set()
            await asyncio.sleep(_AGAIN_SECONDS)
            continue
        if work is not None:
            task = asyncio.create_task(_do(work, turns))
            busy.add(task)
            task.add_done_callback(busy.discard)
            # Leaving cancels this poller, not the turn it waits for.
            await asyncio.shield(task)


async def _do(work: Work, turns: Turns) -> None:
    """One piece of work. Its id names the workflow, so that the same work handed out twice is done once."""
    try:
        if work.kind == "chat":
            with SetWorkflowID(f"chat-{work.id}"):
                await turns.chat(work.model_dump(mode="json"))
        else:
            with SetWorkflowID(f"run-{work.name}-{work.id}"):
                await turns.run(work.name)
    except Exception as problem:  # noqa: BLE001 - one failed piece of work must not end the agent
        log.error("work %s failed: %s: %s", work.id, type(problem).__name__, problem)  # noqa: TRY400 - one line, no traceback


async def _keep(schedules: Schedules, turns: Turns) -> None:
    """Start what is due, for ever."""
    while True:
        for due in schedules.due():
            with SetWorkflowID(due.run):
                await DBOS.start_workflow_async(turns.run, due.workflow)
            schedules.started(due)
        await asyncio.sleep(schedules.seconds_to_next())
