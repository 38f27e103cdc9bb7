"""Whether a container is well: what the engine says of it and, while that is not known yet, its own health check. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.execution import run
from paictl.drivers.docker.logs import last_lines
from paictl.engine.model import Health
from paictl.errors import PaictlError

__all__ = ["container_health"]

_LOG_LINES = 15
_FAILURES = 3
_CHECK_SECONDS = 10.0
# One that ended again within this time has failed to start.
_YOUNG_SECONDS = 10.0


def container_health(connection: Connection, told: Mapping[str, Any]) -> Health:
    """The health of one container, as `GET /containers/ID/json` tells it."""
    state = told["State"]
    match state["Status"]:
        case "running" | "restarting":
            return _alive(connection, told)
        case "created":
            return Health("unhealthy", state.get("Error") or "it was made and never started")
        case "paused":
            return Health("unhealthy", "it is paused")
        case _:
            return Health("unhealthy", _with_log(connection, told, f"it has ended {_how(told)}"), terminal=True)


def _alive(connection: Connection, told: Mapping[str, Any]) -> Health:
    state = told["State"]
    again = state["Status"] == "restarting"
    if told["RestartCount"] >= _FAILURES and (again or _age(state) < _YOUNG_SECONDS):
        sentence = f"it ended again and again right after its start, {_how(told)}"
        return Health("unhealthy", _with_log(connection, told, sentence), terminal=True)
    if again:
        return Health("starting", _with_log(connection, told, f"it ended {_how(told)}"))
    return _running(connection, told)


def _running(connection: Connection, told: Mapping[str, Any]) -> Health:
    health = told["State"].get("Health")
    if health is None or health["Status"] == "healthy":
        return Health("healthy")
    # The engine asks every few seconds only; whoever waits wants to know now.
    said = _ask(connection, told)
    if said is None:
        return Health("healthy")
    if health["Status"] == "starting":
        return Health("starting", said)
    return Health("unhealthy", _with_log(connection, told, f"its health check fails: {said}".rstrip(": ")))


def _ask(connection: Connection, told: Mapping[str, Any]) -> str | None:
    """What its health check says; None when all is well."""
    kind, *command = told["Config"]["Healthcheck"]["Test"]
    argv = ["/bin/sh", "-c", *command] if kind == "CMD-SHELL" else command
    try:
        result = run(connection, told["Id"], argv, timeout=_CHECK_SECONDS)
    except PaictlError as error:
        return error.summary
    if result.code == 0:
        return None
    lines = (result.stdout + result.stderr).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit {result.code}"


def _how(told: Mapping[str, Any]) -> str:
    state, limit = told["State"], told["HostConfig"].get("Memory") or 0
    if state.get("OOMKilled"):
        return f"for want of memory (its limit is {limit >> 20} MiB)"
    return f"with exit status {state['ExitCode']}" + (f" ({state['Error']})" if state.get("Error") else "")


def _age(state: Mapping[str, Any]) -> float:
    """Seconds since its last start, by this machine's clock."""
    started = datetime.fromisoformat(str(state["StartedAt"])[:19]).replace(tzinfo=UTC)
    return (datetime.now(UTC) - started).total_seconds()


def _with_log(connection: Connection, told: Mapping[str, Any], sentence: str) -> str:
    lines = last_lines(connection, told["Id"], _LOG_LINES)
    return "\n".join([sentence, *(f"  {line}" for line in lines)])
