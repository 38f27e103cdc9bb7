"""The kind ``service``: one program under the supervisor, with the file it is started from and the room it lives in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from paictl.drivers.native.disk import private_directory, write
from paictl.drivers.native.files import content, encode
from paictl.drivers.native.health import service_health
from paictl.drivers.native.kind import Act, Here, Seen
from paictl.drivers.native.layout import Layout
from paictl.drivers.native.processes import identify
from paictl.drivers.native.records import Record, read
from paictl.drivers.native.supervision import Live, Program, look, reload, unload
from paictl.errors import PaictlError

__all__ = ["Services", "digest"]

_GRACE_SECONDS_MORE = 10.0
# A change of these alone needs no restart: they are asked by us, not by the program.
_OUTSIDE = frozenset({"health", "url"})


class Services:
    """A supervised program. It is restarted when anything it was started from has changed, and for nothing else."""

    def observe(self, here: Here, record: Record) -> Seen | None:
        layout, name = here.layout, record.address.name
        program = here.live.programs.get(name) if here.live else None
        if program is None and not layout.service_config(name).is_file():
            return None
        check = record.spec.get("health")
        health = service_health(layout, here.live, name, check if isinstance(check, dict) else {}, here.clock)
        room = record.spec.get("room")
        if health.state == "healthy" and isinstance(room, dict) and not room.get("confined"):
            # Nobody is to forget it: whoever asks after it is told.
            health = replace(health, detail="it runs without a room (unconfined: true)")
        return Seen(
            _live(layout, record, program),
            health=health,
            handle=_handle(here.live, program),
            since=datetime.fromtimestamp(program.started, UTC).isoformat() if program and program.started else "",
            url=str(record.spec.get("url") or ""),
        )

    def make(self, act: Act) -> Mapping[str, object] | None:
        layout, name, spec = act.layout, act.step.address.name, act.spec
        live = look(layout)
        if live is None:
            raise PaictlError(
                f"the supervisor of {layout.agent} ended while {name} was to be started",
                help=f"see {layout.log('supervisor')}, and run the same command again.",
            )
        fresh = _fits(layout, act, live.programs.get(name))
        write(layout.room(name), encode(spec["room"]))
        write(layout.service_config(name), act.text("program").encode())
        for path in _sockets(spec):
            private_directory(layout.root / path)
        if not fresh:
            layout.starts(name).unlink(missing_ok=True)
            reload(layout, name, act.clock, _grace(spec))
        return None

    def remove(self, act: Act) -> None:
        layout, name = act.layout, act.step.address.name
        if look(layout):
            unload(layout, name, act.clock, _grace(act.spec))
        # The directory of its sockets stays until the home goes: neighbours may have it bound into their rooms.
        layout.service_config(name).unlink(missing_ok=True)
        layout.room(name).unlink(missing_ok=True)
        layout.starts(name).unlink(missing_ok=True)


def digest(value: object) -> str:
    """What a program was started from, in short."""
    return hashlib.sha256(encode(value)).hexdigest()[:16]


def _fits(layout: Layout, act: Act, program: Program | None) -> bool:
    """Whether it runs already, started from exactly this."""
    if any(change.path.partition(".")[0] not in _OUTSIDE for change in act.step.changes):
        # What was seen when it was planned counts: its configuration has been put right since, the process has not.
        return False
    record = read(layout, act.step.address)
    if record is None or record.begun or program is None or program.state not in {"RUNNING", "STARTING"}:
        return False
    live = _live(layout, record, program)
    return all(live.get(key) == value for key, value in act.spec.items() if key not in _OUTSIDE)


def _live(layout: Layout, record: Record, program: Program | None) -> Mapping[str, object]:
    """Its spec as it is now: its files as they lie there, and what its process was started from."""
    name = record.address.name
    return {
        **record.spec,
        "program": _text(layout.service_config(name)),
        "room": content(layout.room(name)) if layout.room(name).is_file() else None,
        "started_with": _started_with(layout, record, program),
    }


def _started_with(layout: Layout, record: Record, program: Program | None) -> object:
    """What it was started from; if its configuration was edited and it restarted since, that is the edited one."""
    started_with, room = record.spec.get("started_with"), record.spec.get("room")
    if not isinstance(started_with, dict) or not isinstance(room, dict) or program is None:
        return started_with
    altered = _altered(layout, record, started_with.get("weights"))
    if altered:
        # A model file is mapped into memory: what is altered in it, is altered in the program, too.
        started_with = {**started_with, "weights": {**started_with["weights"], **altered}}
    path = layout.root / str(room.get("config"))
    if path.is_file() and program.started >= path.stat().st_mtime:
        live = digest(content(path))
        if live != started_with.get("config"):
            return {**started_with, "config": live}
    return started_with


def _altered(layout: Layout, record: Record, weights: object) -> dict[str, str]:
    """Which of the model files it was started from are no longer what they were."""
    from paictl.weights.cache import verify

    found = {}
    for name, sha256 in weights.items() if isinstance(weights, dict) else ():
        of = read(layout, replace(record.address, kind="weights", name=name))
        path = layout.root / str(of.spec.get("path")) if of else None
        if path and path.is_file() and not verify(path, str(sha256)):
            found[name] = "an altered file"
    return found


def _sockets(spec: Mapping[str, object]) -> list[str]:
    """The run directories that have to exist before the room can be built: its own and its neighbours'."""
    room = spec["room"]
    paths = [*room.get("read", []), *room.get("write", [])] if isinstance(room, dict) else []
    return [path for path in paths if path.startswith("run/")]


def _grace(spec: Mapping[str, object]) -> float:
    return float(str(spec.get("stop_seconds", 10))) + _GRACE_SECONDS_MORE


def _handle(live: Live | None, program: Program | None) -> str:
    """The process itself: pid, start time and boot id, never a pid alone."""
    process = identify(program.pid) if live and program and program.pid else None
    return str(process) if process else ""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
