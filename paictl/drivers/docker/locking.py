"""The lock on the engine: a container of a fixed name that never runs. Taken by ``hold_lock``; decides about nothing else.

The engine gives a name to one only, whoever asks at the same time. Of the holder it is known who it is, which process of
which run of which machine, and, by a file that it puts into the container again and again, that it still lives. A lock
is broken by its id, so that of two who break it neither takes the next holder's away.
"""

from __future__ import annotations

import itertools
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from paictl.drivers.docker import empty_image
from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.naming import KIND, labels
from paictl.drivers.docker.troubles import EngineError
from paictl.engine.driver import Holder, Scope
from paictl.engine.heartbeat import Heart, process
from paictl.engine.lock import describe
from paictl.errors import LockHeld, PaictlError, Refused

__all__ = ["BEAT_SECONDS", "container_name", "hold"]

BEAT_SECONDS = 5.0
_MISSED = 3
_LOOK_SECONDS = 0.25
_APPEAR_SECONDS = 10.0
_HOLDER, _PROCESS, _NONCE = "paictl.holder", "paictl.process", "paictl.nonce"
_HEARTBEAT = "paictl/heartbeat"
_mine: set[str] = set()
"""The locks that this very process holds: one that bears its process and is not among them was left by an error."""


def container_name(scope: Scope) -> str:
    """The name that decides."""
    return f"{scope.agent}-paictl-lock"


@contextmanager
def hold(connection: Connection, scope: Scope, holder: Holder, beat: float = BEAT_SECONDS) -> Iterator[str]:
    """The lock, for as long as the block runs; raises ``LockHeld`` naming the holder when another has it.

    Yields the holder who died with it and from whom it was taken over, described; empty when it was free.
    A holder of this machine is known to live or not at once; of another's heart up to three beats (``beat`` seconds each)
    are waited for. Whoever loses the lock while it sleeps (a laptop that was closed) makes no call to the engine any more.
    """
    nonce = uuid.uuid4().hex
    _mine.add(nonce)
    try:
        taken, dead = _take(connection, scope, holder, nonce, beat)
        try:
            with Heart(connection, _beat(connection, taken), beat).beating():
                yield dead
        finally:
            _release(connection, taken)
    finally:
        _mine.discard(nonce)


@dataclass(frozen=True, slots=True)
class _Found:
    id: str
    labels: Mapping[str, str]

    @property
    def nonce(self) -> str:
        return self.labels.get(_NONCE, "")

    @property
    def whom(self) -> str:
        try:
            return describe(Holder(**json.loads(self.labels[_HOLDER])))
        except (KeyError, ValueError, TypeError):
            return "another paictl"


def _take(connection: Connection, scope: Scope, holder: Holder, nonce: str, beat: float) -> tuple[str, str]:
    """The new lock's id, and of whom the old one was that was broken for it."""
    marks = {
        **labels(scope, "lock", "lock"),
        _HOLDER: json.dumps(asdict(holder)),
        _PROCESS: process(os.getpid()) or "",
        _NONCE: nonce,
    }
    dead, unseen = "", time.monotonic() + _APPEAR_SECONDS
    while True:
        taken = _create(connection, scope, marks)
        if taken:
            return taken, dead
        found = _look(connection, scope)
        if (
            found is None
        ):  # let go of a moment ago; or just being made, when the name is taken before there is a container
            if time.monotonic() > unseen:
                raise _held("another paictl")
            time.sleep(_LOOK_SECONDS)
        elif _stale(connection, found, beat):
            _remove(connection, found.id)
            dead = found.whom
        else:
            raise _held(found.whom)


def _create(connection: Connection, scope: Scope, marks: Mapping[str, str]) -> str:
    """The new lock's id; empty when the name is taken."""
    try:
        return empty_image.create(connection, container_name(scope), marks)
    except EngineError as error:
        if error.status != 409:
            raise
        return ""
    except BaseException:
        # The engine may have made it although its answer never came here.
        with suppress(PaictlError):
            found = _look(connection, scope)
            if found is not None and found.nonce == marks[_NONCE]:
                _release(connection, found.id)
        raise


def _held(whom: str) -> LockHeld:
    return LockHeld(
        f"the lock is held by {whom}", help="Wait for it to end, or pass --lock-timeout to wait for the lock."
    )


def _look(connection: Connection, scope: Scope) -> _Found | None:
    name = container_name(scope)
    try:
        with connection.told(f"looking at {name}"):
            told = connection.api.inspect_container(name)
    except EngineError as error:
        if error.status != 404:
            raise
        return None
    found = _Found(str(told["Id"]), told["Config"].get("Labels") or {})
    if found.labels.get(KIND) != "lock":
        raise Refused(
            f"there is a container named {name}, which is not paictl's lock",
            help="Rename or remove it: paictl needs this name on the engine.",
        )
    return found


def _stale(connection: Connection, found: _Found, beat: float) -> bool:
    """Whether its holder is gone for good."""
    pid, _, where = found.labels.get(_PROCESS, "").partition("@")
    here = process(os.getpid())
    if here is not None and pid and where.partition("#")[0] == here.partition("@")[2].partition("#")[0]:
        return process(int(pid)) != f"{pid}@{where}" or (f"{pid}@{where}" == here and found.nonce not in _mine)
    return _stands_still(connection, found.id, beat)


def _stands_still(connection: Connection, container_id: str, beat: float) -> bool:
    """Whether no beat comes for three times their distance. Two looks are compared, never two machines' clocks."""
    before, deadline = _heartbeat(connection, container_id), time.monotonic() + _MISSED * beat
    while time.monotonic() < deadline:
        time.sleep(min(_LOOK_SECONDS, beat))
        if _heartbeat(connection, container_id) != before:
            return False
    return True


def _heartbeat(connection: Connection, container_id: str) -> Any:
    try:
        with connection.told("looking for a heartbeat"):
            content, stat = connection.api.get_archive(container_id, f"/{_HEARTBEAT}")
            for _ in content:
                pass
            return stat["mtime"]
    except EngineError as error:
        if error.status != 404:
            raise
        return None


def _remove(connection: Connection, container_id: str) -> None:
    try:
        with connection.told("removing a lock"):
            connection.api.remove_container(container_id)
    except EngineError as error:
        if error.status not in {404, 409}:  # gone already, or being removed by somebody else this moment
            raise


def _release(connection: Connection, container_id: str) -> None:
    # An engine that is away now finds the lock without a living holder later.
    with suppress(PaictlError):
        _remove(connection, container_id)
        empty_image.remove(connection)


def _beat(connection: Connection, container_id: str) -> Callable[[], bool | None]:
    """What shows, each time it is called, that the holder lives; whether the lock is still there."""
    counted = itertools.count(1)

    def beat() -> bool | None:
        content = empty_image.tar_of({_HEARTBEAT: b""}, modified=next(counted))
        try:
            with connection.told("renewing the lock"):
                connection.api.put_archive(container_id, "/", content)
        except EngineError as error:
            return False if error.status == 404 else None
        return True

    return beat
