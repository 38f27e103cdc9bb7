"""Whether a container is well: what the engine says of it and, while that is not known yet, its own health check. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.execution import run
from paictl.drivers.docker.logs import last_lines
from paictl.engine.logend import with_log
from paictl.engine.model import Health
from paictl.errors import PaictlError

__all__ = ["container_health"]

_LOG_LINES = 15
_FAILURES = 3
_CHECK_SECONDS = 10.0
# One that ended again within this time has failed to start: so counts the engine, too, which then waits longer each time.
_YOUNG_SECONDS = 10.0
# No machine's clock is so wrong: whatever is older than this need not be asked after.
_CLOCKS_DIFFER_SECONDS = 86_400.0
# What templates/docker/health.py says of a gateway that lets nobody without a token learn that there is no such page.
_NOT_UNDERSTOOD = re.compile(r"HTTP( Error|/[\d.]+) (401|404)\b")
_IDLE: Mapping[str, str] = {
    "created": "it was made and never started",
    "paused": "it is paused",
    "removing": "it is being removed",
    "dead": "the engine could not remove it whole, and left it dead",
}
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})


def container_health(connection: Connection, told: Mapping[str, Any]) -> Health:
    """The health of one container, as `GET /containers/ID/json` tells it."""
    state = told["State"]
    match state["Status"]:
        case "restarting":
            return _ended_again(connection, told)
        case "running" if told["RestartCount"] and _young(connection, state):
            # Right after its start everything looks well: what ended by itself has to show that it stays.
            sentence = f"it ended by itself and was started again ({_times(told['RestartCount'])}){_why(told)}"
            often = told["RestartCount"] >= _FAILURES
            return Health("unhealthy" if often else "starting", _with_log(connection, told, sentence))
        case "running":
            return _running(connection, told)
        case status if status in _IDLE:
            error = f": {state['Error']}" if state.get("Error") else ""
            return Health("unhealthy", f"{_IDLE[status]}{error}", terminal=status == "dead")
        case _:
            return Health("unhealthy", _with_log(connection, told, f"it has ended {_how(told)}"), terminal=True)


def _ended_again(connection: Connection, told: Mapping[str, Any]) -> Health:
    """It ended, and the engine is about to start it again."""
    state = told["State"]
    # The engine counts over a container's whole life: one that has long run well may end, and come back, as it did before.
    short = (_time(state["FinishedAt"]) - _time(state["StartedAt"])).total_seconds() < _YOUNG_SECONDS
    if short and told["RestartCount"] >= _FAILURES:
        sentence = f"it ended again and again right after its start, {_how(told)}"
        return Health("unhealthy", _with_log(connection, told, sentence), terminal=True)
    return Health("starting", _with_log(connection, told, f"it ended {_how(told)}"))


def _running(connection: Connection, told: Mapping[str, Any]) -> Health:
    health = told["State"].get("Health")
    if health is None or health["Status"] == "healthy":
        return Health("healthy")
    # The engine asks every few seconds only; whoever waits wants to know now.
    said = _ask(connection, told)
    if said is None:
        return Health("healthy")
    if health["Status"] == "starting":
        return Health("starting", _with_log(connection, told, said))
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
    said = lines[-1] if lines else f"exit {result.code}"
    return None if _NOT_UNDERSTOOD.search(said) and _asks_another(told) else said


def _asks_another(told: Mapping[str, Any]) -> bool:
    """Whether its check asks another service how it is; one from before there was the question counts as well by being alive."""
    found = (one.partition("=") for one in told["Config"].get("Env") or ())
    host = next((urlsplit(value).hostname for name, _, value in found if name == "PAICTL_HEALTH"), None)
    return bool(host) and host not in _LOOPBACK


def _how(told: Mapping[str, Any]) -> str:
    state = told["State"]
    if state.get("OOMKilled"):
        return _want(told)
    return f"with exit status {state['ExitCode']}" + (f" ({state['Error']})" if state.get("Error") else "")


def _why(told: Mapping[str, Any]) -> str:
    """Of one that runs again the engine has forgotten the exit status, but not this."""
    return f", {_want(told)}" if told["State"].get("OOMKilled") else ""


def _want(told: Mapping[str, Any]) -> str:
    limit = (told["HostConfig"].get("Memory") or 0) >> 20
    return f"for want of memory (its limit is {limit} MiB)" if limit else "for want of memory on the engine's machine"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _young(connection: Connection, state: Mapping[str, Any]) -> bool:
    """Whether its last start is so recent that it may end again, by the engine's own clock: another machine's may differ."""
    seconds = (datetime.now(UTC) - _time(state["StartedAt"])).total_seconds()
    if abs(seconds) < _CLOCKS_DIFFER_SECONDS and not connection.engine().local:
        seconds = (_time(connection.ask("/info")["SystemTime"]) - _time(state["StartedAt"])).total_seconds()
    return seconds < _YOUNG_SECONDS


def _time(text: object) -> datetime:
    """RFC 3339 as the engine writes it: with nanoseconds, and in UTC unless it says otherwise."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?\d*(Z|[+-]\d\d:\d\d)", str(text))
    if found is None:
        message = f"the engine tells a time as {text!r}"
        raise ValueError(message)
    second, fraction, zone = found.groups()
    return datetime.fromisoformat(f"{second}{(fraction or '.0').ljust(7, '0')}{zone.replace('Z', '+00:00')}")


def _with_log(connection: Connection, told: Mapping[str, Any], sentence: str) -> str:
    return with_log(sentence, last_lines(connection, told["Id"], _LOG_LINES))
