"""The lock in the namespace: a Lease with its holder, who renews it. Taken by ``hold_lock``; decides about nothing else.

Of a holder on this machine it is known whether the process lives; of another's the renewals are watched, by two looks and
never by two machines' clocks. A lease changes hands by its version, so that of two who take it over one wins.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from paictl.drivers.kubernetes import namespaces
from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.kinds import LEASE
from paictl.drivers.kubernetes.naming import MANAGER, labels, owner_of
from paictl.drivers.kubernetes.troubles import ApiError
from paictl.engine.driver import Holder, Scope
from paictl.engine.heartbeat import Heart, process
from paictl.engine.lock import describe
from paictl.errors import LockHeld, PaictlError, Refused

__all__ = ["BEAT_SECONDS", "hold", "name_of"]

BEAT_SECONDS = 5.0
_MISSED = 3
_LOOK_SECONDS = 0.25
_HOLDER, _PROCESS = "paictl/holder", "paictl/process"
_mine: set[str] = set()
"""The locks that this very process holds: one that bears its process and is not among them was left by an error."""


def name_of(scope: Scope) -> str:
    """The name that decides."""
    return f"{scope.agent}-paictl-lock"


@contextmanager
def hold(
    connection: Connection, scope: Scope, namespace: str, holder: Holder, beat: float = BEAT_SECONDS
) -> Iterator[str]:
    """The lock, for as long as the block runs, in a namespace that is there; raises ``LockHeld`` when another has it.

    Yields the holder who died with it and from whom it was taken over, described; empty when it was free. Whoever loses the
    lock while it sleeps (a laptop that was closed) makes no call to the cluster any more.
    """
    namespaces.ensure(connection, scope, namespace)
    nonce = uuid.uuid4().hex
    _mine.add(nonce)
    lease = _Lease(connection, scope, namespace, holder, nonce, beat)
    try:
        dead = lease.take()
        try:
            with Heart(connection, lease.renew, beat).beating():
                yield dead
        finally:
            # While the lock is still ours: whoever took it meanwhile would lose it with the namespace.
            with suppress(PaictlError):
                if lease.ours():
                    namespaces.release(connection, scope, namespace, name_of(scope))
            lease.release()
    finally:
        _mine.discard(nonce)


class _Lease:
    def __init__(
        self, connection: Connection, scope: Scope, namespace: str, holder: Holder, nonce: str, beat: float
    ) -> None:
        self.connection, self.scope, self.namespace = connection, scope, namespace
        self.holder, self.nonce, self.beat = holder, nonce, beat
        self.path = LEASE.path(namespace, name_of(scope))

    def take(self) -> str:
        """Who held it and died; empty when it was free."""
        dead = ""
        while True:
            if self._create():
                return dead
            found = self._look()
            if found is None:
                continue
            if not self._stale(found):
                raise LockHeld(
                    f"the lock is held by {_whom(found)}",
                    help="Wait for it to end, or pass --lock-timeout to wait for the lock.",
                )
            dead = _whom(found)
            try:
                self._replace(found)
            except ApiError as no:
                if no.status not in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
                    raise
                # Another one was faster; the next look tells.
                continue
            return dead

    def renew(self) -> bool | None:
        """Say that the holder lives; whether it still is the holder, None when somebody else wrote at the same moment."""
        found = self._look()
        if found is None or found["spec"].get("holderIdentity") != self.nonce:
            return False
        try:
            self._replace(found)
        except ApiError as no:
            if no.status != HTTPStatus.CONFLICT:
                raise
            return None
        return True

    def ours(self) -> bool:
        """Whether it still is."""
        found = self._look()
        return found is not None and found["spec"].get("holderIdentity") == self.nonce

    def release(self) -> None:
        """Let go of it, if it still is ours; a cluster that is away now finds it without a living holder later."""
        with suppress(PaictlError):
            found = self._look()
            if found is not None and found["spec"].get("holderIdentity") == self.nonce:
                version = {"uid": found["metadata"]["uid"], "resourceVersion": found["metadata"]["resourceVersion"]}
                self.connection.send("DELETE", self.path, "letting go of the lock", {"preconditions": version})

    def _document(self, taken: str) -> dict[str, Any]:
        marks = {_HOLDER: json.dumps(asdict(self.holder)), _PROCESS: process(os.getpid()) or ""}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name_of(self.scope),
                "namespace": self.namespace,
                "labels": labels(self.scope),
                "annotations": marks,
            },
            "spec": {
                "holderIdentity": self.nonce,
                "leaseDurationSeconds": max(1, round(_MISSED * self.beat)),
                "acquireTime": taken,
                "renewTime": _now(),
            },
        }

    def _create(self) -> bool:
        path = LEASE.path(self.namespace)
        try:
            self.connection.send("POST", path, "taking the lock", self._document(_now()), fieldManager=MANAGER)
        except ApiError as no:
            if no.status != HTTPStatus.CONFLICT:
                raise
            # Its answer may have been lost on the way, and the question asked again.
            found = self._look()
            return found is not None and found["spec"].get("holderIdentity") == self.nonce
        return True

    def _replace(self, found: Mapping[str, Any]) -> None:
        taken = found["spec"].get("acquireTime") if found["spec"].get("holderIdentity") == self.nonce else None
        document = self._document(taken or _now())
        document["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        self.connection.send("PUT", self.path, "renewing the lock", document, fieldManager=MANAGER)

    def _look(self) -> Any | None:
        found = self.connection.find(self.path, "looking at the lock")
        if found is not None and owner_of(self.scope, found["metadata"].get("labels")) == "unlabelled":
            raise Refused(
                f"there is a Lease named {name_of(self.scope)}, which is not paictl's lock",
                help="Remove it: paictl needs this name in the namespace.",
            )
        return found

    def _stale(self, found: Mapping[str, Any]) -> bool:
        """Whether its holder is gone for good."""
        marks, nonce = found["metadata"].get("annotations") or {}, found["spec"].get("holderIdentity")
        if not nonce:
            return True
        pid, _, where = marks.get(_PROCESS, "").partition("@")
        here = process(os.getpid())
        if here is not None and pid and where.partition("#")[0] == here.partition("@")[2].partition("#")[0]:
            return process(int(pid)) != f"{pid}@{where}" or (f"{pid}@{where}" == here and nonce not in _mine)
        return self._stands_still(found)

    def _stands_still(self, found: Mapping[str, Any]) -> bool:
        """Whether nobody renews it for as long as it says that it holds."""
        before = found["metadata"]["resourceVersion"]
        deadline = time.monotonic() + float(found["spec"].get("leaseDurationSeconds") or _MISSED * self.beat)
        while time.monotonic() < deadline:
            time.sleep(min(_LOOK_SECONDS, self.beat))
            now = self._look()
            if now is None:
                return True
            if now["metadata"]["resourceVersion"] != before:
                return False
        return True


def _whom(found: Mapping[str, Any]) -> str:
    try:
        return describe(Holder(**json.loads(found["metadata"]["annotations"][_HOLDER])))
    except (KeyError, ValueError, TypeError):
        return "another paictl"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
