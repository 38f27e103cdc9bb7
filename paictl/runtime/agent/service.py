"""The agent as a process: it says hello, fetches its work, keeps its schedules, and leaves in order when told to.

Started by ``__main__``. It holds the one DBOS of the process and decides nothing about answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from dbos import DBOS, SetWorkflowID

from paictl.runtime.agent.door import Door, DoorError, Work
from paictl.runtime.agent.ledger import erase, erase_finished, open_ledger
from paictl.runtime.agent.schedules import FileKept, Kept, Schedules
from paictl.runtime.agent.turns import Turns
from paictl.runtime.config import AgentConfig

__all__ = ["serve"]

log = logging.getLogger(__name__)

# One model slot is the rule on small machines; a few turns at once keep memory and tools busy meanwhile.
_POLLERS = 4
_LONG_POLL_SECONDS, _STANDBY_SECONDS = 25.0, 10.0
_TIDY_SECONDS = 600.0
_AGAIN_SECONDS = 0.5
# Shorter than the ten seconds that supervisors wait before they kill.
_GRACE_SECONDS = 6.0


async def serve(config: AgentConfig, token: str, stop: asyncio.Event) -> None:
    """Be the agent until ``stop``; turns still running then are ended by the next life of the process."""
    door = Door(config.gateway, token)
    opened = await _open(config, door, token, stop)
    if opened is None:
        return
    watching, kept = opened
    turns = Turns(config, door, token)
    schedules = Schedules(config.workflows, kept)
    DBOS.launch()
    busy: set[asyncio.Task[None]] = set()
    stranger = asyncio.Event()
    stranger.set()
    tasks = [asyncio.create_task(_fetch(door, turns, config, stranger, busy)) for _ in range(_POLLERS)]
    tasks.append(asyncio.create_task(_keep(schedules, turns)))
    tasks.append(asyncio.create_task(_tidy(config)))
    tasks.append(asyncio.create_task(_greet(door, config, stranger)))
    tasks += watching
    log.info("agent %s is up, version %s", config.agent, config.application_version)
    await stop.wait()
    for task in tasks:
        task.cancel()
    if busy:
        await asyncio.wait(busy, timeout=_GRACE_SECONDS)
    await door.close()
    log.info("agent %s leaves", config.agent)


async def _open(
    config: AgentConfig, door: Door, token: str, stop: asyncio.Event
) -> tuple[list[asyncio.Task[None]], Kept] | None:
    """The ledger, and who watches over it: where several could be the agent, this one first waits until it is.

    None: told to stop before it was.
    """
    if not config.state:
        open_ledger(config)
        return [], FileKept(Path(config.database).with_name("schedules.json"))
    from paictl.runtime.agent import shared

    tenure, engine = shared.Tenure(config, token), shared.engine(config, token)
    waiting, told = asyncio.create_task(tenure.begin()), asyncio.create_task(stop.wait())
    standing = asyncio.create_task(_stand_by(door))
    await asyncio.wait({waiting, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    standing.cancel()
    if not waiting.done():
        waiting.cancel()
        return None
    waiting.result()
    open_ledger(config, engine)
    return [asyncio.create_task(tenure.keep(stop))], shared.TableKept(engine, shared.schema(config))


async def _stand_by(door: Door) -> None:
    """Stay connected, for ever."""
    while True:
        try:
            await door.stand_by(_STANDBY_SECONDS)
        except DoorError as problem:
            log.debug("waiting for the gateway: %s", problem)
            await asyncio.sleep(_AGAIN_SECONDS)


async def _greet(door: Door, config: AgentConfig, stranger: asyncio.Event) -> None:
    """Say hello at the start, and again after any trouble: a restarted gateway does not know us.

    One that does offers again what was not begun to be answered, which is harmless: a workflow's name is the work's id.
    """
    schedules = {name: workflow.schedule for name, workflow in config.workflows.items() if workflow.schedule}
    waiting = False
    while True:
        await stranger.wait()
        try:
            await door.hello(schedules, sorted(config.workflows))
            stranger.clear()
            waiting = False
        except DoorError as problem:
            log.log(logging.DEBUG if waiting else logging.WARNING, "waiting for the gateway: %s", problem)
            waiting = True
            await asyncio.sleep(_AGAIN_SECONDS)


async def _fetch(
    door: Door, turns: Turns, config: AgentConfig, stranger: asyncio.Event, busy: set[asyncio.Task[None]]
) -> None:
    """Fetch work and do it, one piece at a time."""
    while True:
        asked = time.monotonic()
        try:
            work = await door.work(_LONG_POLL_SECONDS)
        except DoorError as problem:
            log.debug("no work to be had: %s", problem)
            stranger.set()
            await asyncio.sleep(_AGAIN_SECONDS)
            continue
        if work is None and time.monotonic() - asked < _LONG_POLL_SECONDS / 2:
            # It ended the poll early: it is going down, and the next one won't know us.
            stranger.set()
            await asyncio.sleep(_AGAIN_SECONDS)
        if work is not None:
            task = asyncio.create_task(_do(work, turns, config))
            busy.add(task)
            task.add_done_callback(busy.discard)
            # Leaving cancels this poller, not the turn it waits for.
            await asyncio.shield(task)


async def _do(work: Work, turns: Turns, config: AgentConfig) -> None:
    """One piece of work. Its id names the workflow, so that the same work handed out twice is done once."""
    try:
        if work.kind == "chat":
            with SetWorkflowID(f"chat-{work.id}"):
                await turns.chat(work.model_dump(mode="json"))
            await erase(config, [f"chat-{work.id}"])
        else:
            with SetWorkflowID(f"run-{work.name}-{work.id}"):
                await turns.run(work.name)
    except Exception as problem:  # noqa: BLE001 - one failed piece of work must not end the agent
        log.error("work %s failed: %s: %s", work.id, type(problem).__name__, problem)  # noqa: TRY400 - one line, no traceback


async def _keep(schedules: Schedules, turns: Turns) -> None:
    """Start what is due, for ever."""
    while True:
        for due in schedules.due():
            try:
                with SetWorkflowID(due.run):
                    await DBOS.start_workflow_async(turns.run, due.workflow)
                await asyncio.to_thread(schedules.started, due)
            except Exception as problem:  # noqa: BLE001 - it stays due, and its name keeps it from being done twice
                log.warning("%s could not be started: %s", due.run, type(problem).__name__)
                await asyncio.sleep(_AGAIN_SECONDS)
        await asyncio.sleep(schedules.seconds_to_next())


async def _tidy(config: AgentConfig) -> None:
    """Keep the ledger small, for ever."""
    while True:
        try:
            await erase_finished(config)
        except Exception as problem:  # noqa: BLE001 - it is tried again, and nothing depends on it now
            log.warning("finished work could not be erased: %s", type(problem).__name__)
        await asyncio.sleep(_TIDY_SECONDS)
