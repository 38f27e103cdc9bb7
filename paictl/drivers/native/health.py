"""Whether a service is well: what its supervisor says of the process, and what the service itself answers. Changes nothing."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from pathlib import Path

from paictl.clock import Clock
from paictl.drivers.native.layout import Layout
from paictl.drivers.native.logs import last_lines
from paictl.drivers.native.sockets import UnixConnection
from paictl.drivers.native.supervision import Live, Program
from paictl.engine.logend import with_log
from paictl.engine.model import Health

__all__ = ["service_health", "tell"]

_ASK_SECONDS = 3.0
_LOG_LINES = 15
_FAILURES = 3
# A start that fails takes at most the supervisor's ten seconds and the pause before the next.
_EACH_SECONDS = 15
# A gateway lets nobody without a token as far as to learn that there is no such page.
_NOT_UNDERSTOOD = frozenset({401, 404})


def service_health(layout: Layout, live: Live | None, name: str, check: Mapping[str, object], clock: Clock) -> Health:
    """One service's health.

    ``check``: ``address`` (empty: being alive is enough), ``path``, ``stable_seconds``; ``witness`` says that the address is
    another service's.
    """
    if live is None:
        # Nothing starts it again but an apply: whoever waits for the service waits in vain.
        return Health("unhealthy", "its supervisor is not running", terminal=True)
    program = live.programs.get(name)
    if program is None:
        return Health("unhealthy", "its supervisor does not know it")
    if program.state not in {"STARTING", "RUNNING"}:
        return _not_running(layout, program)
    alive = _alive(program, float(str(check.get("stable_seconds", 0))), clock)
    if not check.get("address"):
        return alive
    return tell(layout.root, str(check["address"]), str(check["path"]), alive if check.get("witness") else None)


def _alive(program: Program, stable: float, clock: Clock) -> Health:
    seconds = clock.now().timestamp() - program.started
    return Health("healthy") if seconds >= stable else _starting("it has just started")


def _not_running(layout: Layout, program: Program) -> Health:
    match program.state:
        case "FATAL":
            return Health("unhealthy", _with_log(layout, program.name, _failure(program)), terminal=True)
        case "BACKOFF" | "EXITED" if _keeps_failing(layout, program.name):
            sentence = "it ended again and again right after its start"
            return Health("unhealthy", _with_log(layout, program.name, sentence), terminal=True)
        case "BACKOFF" | "EXITED":
            return Health("starting", _with_log(layout, program.name, _failure(program)))
        case _:
            return Health("unhealthy", "it was stopped")


def tell(root: Path, address: str, path: str, otherwise: Health | None = None) -> Health:
    """What ``GET path`` at a wired address answers: 200 is healthy, anything else is not yet.

    ``otherwise`` counts where whoever is asked doesn't know the question: the lock may pin a runtime from before it.
    """
    scheme, _, place = address.partition(":")
    unix = scheme == "unix"
    connection = (
        UnixConnection(root / place, _ASK_SECONDS) if unix else http.client.HTTPConnection(place, timeout=_ASK_SECONDS)
    )
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return _starting(f"{address} does not answer: {error}")
    finally:
        connection.close()
    if otherwise is not None and status in _NOT_UNDERSTOOD:
        return otherwise
    return Health("healthy") if status == 200 else _starting(f"{address}{path} answers {status}")


def _starting(detail: str) -> Health:
    return Health("starting", detail)


def _keeps_failing(layout: Layout, name: str) -> bool:
    """Whether its last starts followed each other so closely that another one won't help."""
    try:
        starts = [int(one) for one in layout.starts(name).read_text(encoding="ascii").split()]
    except (FileNotFoundError, ValueError):
        return False
    return len(starts) >= _FAILURES and starts[-1] - starts[-_FAILURES] < _FAILURES * _EACH_SECONDS


def _failure(program: Program) -> str:
    if program.complaint.startswith("Exited too quickly"):
        return "it ended right after its start"  # the supervisor keeps no exit status of that
    return program.complaint or f"it ended with exit status {program.exit_status}"


def _with_log(layout: Layout, name: str, sentence: str) -> str:
    return with_log(sentence, last_lines(layout.log(name), _LOG_LINES))
