"""Whether a unit is well, asked on its host: what systemd says of it, and what it answers itself. Changes nothing.

Sent to the host as it is, or imported there by a module of Ansible; it has the host's Python 3.9 or newer, and nothing else.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import socket
import subprocess
import sys
import time
from typing import Any

_ASK_SECONDS = 3.0
_COMMAND_SECONDS = 20
_LOG_LINES = 15
# So many starts that each lasted no longer than this: one more won't help.
_FAILURES, _SHORT_SECONDS = 3, 15.0
_FIELDS = (
    "LoadState",
    "Type",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
)
_KILLED = {2, 3}  # CLD_KILLED, CLD_DUMPED: the status is a signal's number


def health(unit: str, check: dict[str, Any] | None = None) -> dict[str, Any]:
    """``state`` (healthy, starting, unhealthy, unknown), ``detail``, ``terminal``, ``since`` (ISO 8601), ``log`` (its last lines).

    ``check``: ``socket`` or ``address`` (HOST:PORT), and ``path``; none: running is enough. ``terminal``: waiting can't help.
    """
    try:
        told = _shown(unit)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return _found("unknown", f"systemd does not answer: {error}")
    if told["LoadState"] != "loaded":
        return _found("unhealthy", _unloaded(told), terminal=True)
    found = _judged(unit, told, check)
    if found["state"] != "healthy" and _keeps_failing(told):
        text = "it ended again and again right after its start"
        found = _found("unhealthy", text, terminal=True, log=last_lines(unit))
    return {**found, "since": _since(told)}


def _judged(unit: str, told: dict[str, Any], check: dict[str, Any] | None) -> dict[str, Any]:
    active = told["ActiveState"]
    if active in ("active", "reloading"):
        return _answer(check) if check else _found("healthy")
    if active == "failed":
        return _found("unhealthy", _failure(told), terminal=True, log=last_lines(unit))
    if told["SubState"].startswith("auto-restart"):
        return _found("starting", _failure(told), log=last_lines(unit))
    if told["Type"] == "oneshot":
        # What a timer starts is well between two runs, and while it runs; how it ended last would be "failed".
        return _found("healthy")
    if active == "inactive":
        return _found("unhealthy", "it was stopped")
    return _found("starting", f"it is {active}")


def last_lines(unit: str, count: int = _LOG_LINES) -> list[str]:
    """What the service itself wrote last; nothing of what systemd says about it."""
    argv = ["journalctl", "_SYSTEMD_UNIT=" + unit, "-o", "cat", "-q", "--no-pager", "-n", str(count)]
    try:
        return _said(argv).splitlines()
    except (OSError, subprocess.SubprocessError):
        return []


def _shown(unit: str) -> dict[str, Any]:
    lines = _said(["systemctl", "show", unit, "--property=" + ",".join(_FIELDS)]).splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    # Of a unit that is not loaded not every kind of field is told.
    return {field: told.get(field, "") for field in _FIELDS}


def _said(argv: list[str]) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_COMMAND_SECONDS)
    return done.stdout.decode("utf-8", "replace")


def _unloaded(told: dict[str, Any]) -> str:
    if told["LoadState"] == "not-found":
        return "its unit is gone: somebody removed it meanwhile"
    return "it is masked" if told["LoadState"] == "masked" else f"systemd can't read its unit: {told['LoadState']}"


def _keeps_failing(told: dict[str, Any]) -> bool:
    """Whether systemd started it again some times by itself, and the last time it lived did not last."""
    if told["ActiveState"] == "inactive" or int(told["NRestarts"] or 0) < _FAILURES:
        return False
    began, ended = _seconds(told["ExecMainStartTimestampMonotonic"]), _seconds(told["ExecMainExitTimestampMonotonic"])
    if ended < began:  # this one lives
        return time.clock_gettime(time.CLOCK_MONOTONIC) - began < _SHORT_SECONDS
    return ended - began < _SHORT_SECONDS


def _failure(told: dict[str, Any]) -> str:
    status, result = int(told["ExecMainStatus"] or 0), told["Result"]
    if result == "oom-kill":
        return "it was ended because it took more memory than it may"
    if result == "timeout":
        return "it took too long to start or to stop"
    if int(told["ExecMainCode"] or 0) in _KILLED:
        return f"it was ended by signal {status}"
    if result == "exit-code":
        return f"it ended with exit status {status}"
    return "it ended right after its start" if result == "success" else f"it ended: {result}"


def _answer(check: dict[str, Any]) -> dict[str, Any]:
    place = str(check.get("socket") or check.get("address"))
    connection = (
        _UnixConnection(place) if check.get("socket") else http.client.HTTPConnection(place, timeout=_ASK_SECONDS)
    )
    try:
        connection.request("GET", check["path"])
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return _found("starting", f"{place} does not answer: {error}")
    finally:
        connection.close()
    if status == http.client.OK:
        return _found("healthy")
    return _found("starting", "{}{} answers {}".format(place, check["path"], status))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_ASK_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _seconds(microseconds: str) -> float:
    return int(microseconds or 0) / 1_000_000


def _since(told: dict[str, Any]) -> str:
    """When it last became active, by the host's clock; empty where it never was."""
    entered = _seconds(told["ActiveEnterTimestampMonotonic"])
    if not entered:
        return ""
    stamp = time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - entered)
    return dt.datetime.fromtimestamp(stamp, dt.UTC).isoformat(timespec="seconds")


def _found(state: str, detail: str = "", **more: object) -> dict[str, Any]:
    return {"state": state, "detail": detail, "terminal": False, "since": "", "log": [], **more}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(health(sys.argv[1], json.loads(sys.argv[2]))))
