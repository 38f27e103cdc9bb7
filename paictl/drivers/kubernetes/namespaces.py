"""The namespace itself: made when it is not there, and removed when the last of what we put there has gone. Used by ``locking``.

One that an administrator made is used as it is and stays: on shared clusters nobody else may make any.
"""

from __future__ import annotations

import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from paictl.drivers.kubernetes import ledger
from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.documents import parse
from paictl.drivers.kubernetes.kinds import CONFIG_MAP, KINDS, LEASE, POD, SECRET, namespace_path
from paictl.drivers.kubernetes.naming import MANAGER, labels, owner_of
from paictl.drivers.kubernetes.troubles import ApiError
from paictl.engine.driver import Scope
from paictl.errors import PaictlError, Refused
from paictl.render.kubernetes import namespace_of

__all__ = ["ensure", "release"]

_END_SECONDS = 180.0
_PAUSE_SECONDS = 0.5
_LOOKED_AT = (
    CONFIG_MAP,
    SECRET,
    POD,
    LEASE,
    *(KINDS[one] for one in ("PersistentVolumeClaim", "Service", "Deployment", "StatefulSet")),
)
_GIVEN = frozenset({"kube-root-ca.crt"})


def ensure(connection: Connection, scope: Scope, namespace: str) -> None:
    """Have it, with the labels that let only restricted pods in; waits for the end of one that is being removed."""
    found = _ended(connection, namespace)
    if found is not None and owner_of(scope, found["metadata"].get("labels")) != "mine":
        return
    (document,) = parse(namespace_of(scope.agent, namespace))
    document["metadata"]["labels"] |= labels(scope)
    query = {"fieldManager": MANAGER, "fieldValidation": "Strict", "force": "true"}
    try:
        connection.send(
            "PATCH",
            namespace_path(namespace),
            f"making the namespace {namespace}",
            document,
            kind="application/apply-patch+yaml",
            **query,
        )
    except ApiError as no:
        if no.status != HTTPStatus.FORBIDDEN or found is not None:
            if no.status == HTTPStatus.FORBIDDEN:
                return
            raise
        raise Refused(
            f"there is no namespace {namespace}, and you may not make one",
            help=f"Have an administrator run `kubectl create namespace {namespace}` and label it "
            "pod-security.kubernetes.io/enforce=restricted.",
        ) from no


def _ended(connection: Connection, namespace: str) -> Any | None:
    """What stands; None when nothing does, and when one that was going has gone."""
    deadline = time.monotonic() + _END_SECONDS
    while True:
        try:
            found = connection.find(namespace_path(namespace), f"looking at the namespace {namespace}")
        except ApiError as no:
            if no.status == HTTPStatus.FORBIDDEN:
                # Who may not even look has been given one.
                return {"metadata": {}}
            raise
        if found is None or (found.get("status") or {}).get("phase") != "Terminating":
            return found
        if time.monotonic() > deadline:
            raise PaictlError(
                f"the namespace {namespace} is being removed and does not go: {_why(found)}",
                help="Whoever set the finalizer has to remove it; `kubectl get namespace -o yaml` tells more.",
            )
        time.sleep(_PAUSE_SECONDS)


def _why(found: Any) -> str:
    conditions = (found.get("status") or {}).get("conditions") or ()
    told = [str(one.get("message", "")) for one in conditions if one.get("status") == "True"]
    return "; ".join(told) or "something in it has not ended"


def release(connection: Connection, scope: Scope, namespace: str, lock: str) -> None:
    """Remove it when we made it and nothing is left there but ``lock``, and wait for its end."""
    found = connection.find(namespace_path(namespace), "looking at the namespace")
    if found is None or owner_of(scope, found["metadata"].get("labels")) != "mine":
        return
    if ledger.load(connection, scope, namespace) is not None or _holds_something(connection, namespace, lock):
        return
    options = {"preconditions": {"uid": found["metadata"]["uid"]}}
    with suppress(ApiError):  # who may not remove a namespace leaves an empty one
        connection.send("DELETE", namespace_path(namespace), f"removing the namespace {namespace}", options)
        _ended(connection, namespace)


def _holds_something(connection: Connection, namespace: str, lock: str) -> bool:
    for kind in _LOOKED_AT:
        found = connection.ask(kind.path(namespace), f"looking for {kind.plural}", limit=3)["items"]
        # Another agent that shares the namespace may have no more than its lock there yet.
        if any(
            one["metadata"]["name"] not in _GIVEN and (kind, one["metadata"]["name"]) != (LEASE, lock) for one in found
        ):
            return True
    return False
