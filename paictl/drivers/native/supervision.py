"""Talks to the agent's supervisor over its socket, starts it and stops it. Used by the kinds ``supervisor`` and ``service``.

It knows processes and programs; what they are for, and whether they should run, is the business of its callers.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from paictl.clock import Clock
from paictl.drivers.native.disk import private_directory
from paictl.drivers.native.layout import Layout
from paictl.drivers.native.processes import Process, end, identify, marked
from paictl.drivers.native.sockets import UnixConnection
from paictl.errors import PaictlError, Unreachable

__all__ = ["Live", "Program", "look", "reload", "shut_down", "start", "unload"]

_CALL_SECONDS = 5.0
_START_SECONDS = 20.0
_POLL_SECONDS = 0.05
_STOPPED = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})


@dataclass(frozen=True, slots=True)
class Program:
    """One program as the supervisor sees it; ``started`` in seconds since the epoch, 0 when it never was."""

    name: str
    state: str
    pid: int
    started: int
    exit_status: int
    complaint: str


@dataclass(frozen=True, slots=True)
class Live:
    """A supervisor that answers."""

    identity: str
    process: Process | None
    programs: Mapping[str, Program]


class _Transport(xmlrpc.client.Transport):
    # supervisor ships a transport of its own; it has no timeout, so a stopped supervisor would stop paictl, too.
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._kept: UnixConnection | None = None

    def make_connection(self, _host: object) -> http.client.HTTPConnection:
        self._kept = self._kept or UnixConnection(self._path, _CALL_SECONDS)
        return self._kept

    def close(self) -> None:
        if self._kept:
            self._kept.close()
            self._kept = None


class _Control:
    """The supervisor's calls, as a context: ``control("getState")``."""

    def __init__(self, layout: Layout) -> None:
        self._transport = _Transport(layout.socket)
        self._server = xmlrpc.client.ServerProxy("http://localhost", transport=self._transport, allow_none=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._transport.close()

    def __call__(self, method: str, *arguments: object) -> Any:
        return getattr(self._server.supervisor, method)(*arguments)


def look(layout: Layout) -> Live | None:
    """What the supervisor runs; None when none listens. Raises ``Unreachable`` when one listens and doesn't answer."""
    try:
        with _Control(layout) as control:
            identity = str(control("getIdentification"))
            process = identify(int(control("getPID")))
            programs = [_program(one) for one in control("getAllProcessInfo")]
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError, ConnectionResetError):
        return None
    except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
        pids = ", ".join(str(one.pid) for one in marked(layout)[:1]) or "unknown"
        raise Unreachable(
            f"the supervisor of {layout.agent} does not answer on {layout.socket} ({type(error).__name__})",
            help=f"see {layout.log('supervisor')}; if it hangs, end it (pid {pids}) and run the same command again.",
        ) from error
    return Live(identity, process, {one.name: one for one in programs})


def start(layout: Layout, python: Path, clock: Clock) -> Live:
    """Start the supervisor as a daemon of its own session, with nothing of this terminal; returns when it answers."""
    private_directory(layout.socket.parent)
    # What it inherits, its services inherit: a clean environment keeps the person's keys out of them.
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PAICTL_MARK": layout.mark,
    }
    command = [str(python), "-m", "supervisor.supervisord", "--configuration", str(layout.supervisor_config)]
    done = subprocess.run(
        command,
        cwd=layout.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        check=False,
        timeout=_START_SECONDS,
    )
    deadline = clock.monotonic() + _START_SECONDS
    while done.returncode == 0 and clock.monotonic() < deadline:
        live = look(layout)
        if live:
            return live
        clock.sleep(_POLL_SECONDS)
    said = (done.stdout + done.stderr).decode(errors="replace").strip() or _last_lines(layout.log("supervisor"))
    raise PaictlError(
        f"the supervisor of {layout.agent} did not start: {said[-800:]}", help=f"see {layout.log('supervisor')}"
    )


def shut_down(layout: Layout, clock: Clock, grace: float) -> None:
    """End the supervisor with all its services, and then whatever still carries the agent's mark."""
    live = look(layout)
    if live and live.process:
        with _Control(layout) as control:
            control("shutdown")
        deadline = clock.monotonic() + grace
        while identify(live.process.pid) == live.process and clock.monotonic() < deadline:
            clock.sleep(_POLL_SECONDS)
    end(marked(layout))
    layout.socket.unlink(missing_ok=True)


def reload(layout: Layout, service: str, clock: Clock, grace: float) -> None:
    """Have the supervisor (re)start a program from its file as it is now."""
    with _Control(layout) as control:
        _unload(control, service, clock, grace)
        control("reloadConfig")
        control("addProcessGroup", service)


def unload(layout: Layout, service: str, clock: Clock, grace: float) -> None:
    """Stop a program and have the supervisor forget it. Nothing to stop is fine."""
    with _Control(layout) as control:
        _unload(control, service, clock, grace)


def _unload(control: _Control, service: str, clock: Clock, grace: float) -> None:
    try:
        control("stopProcessGroup", service, False)
        deadline = clock.monotonic() + grace
        while _program(control("getProcessInfo", service)).state not in _STOPPED:
            if clock.monotonic() > deadline:
                raise PaictlError(
                    f"{service} does not end", help="`paictl logs` may say why; then run the same command again."
                )
            clock.sleep(_POLL_SECONDS)
        control("removeProcessGroup", service)
    except xmlrpc.client.Fault as fault:
        # supervisor.xmlrpc.Faults.BAD_NAME: it does not know the program.
        if fault.faultCode != 10:
            raise PaictlError(f"the supervisor refused to stop {service}: {fault.faultString}") from fault


def _program(info: Mapping[str, object]) -> Program:
    return Program(
        name=str(info["name"]),
        state=str(info["statename"]),
        pid=cast("int", info["pid"]),
        started=cast("int", info["start"]),
        exit_status=cast("int", info["exitstatus"]),
        complaint=str(info["spawnerr"]),
    )


def _last_lines(path: Path) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-5:])
    except OSError:
        return ""
