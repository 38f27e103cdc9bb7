"""Makes documents true by server-side apply, and takes them away. Used by the driver; decides nothing about what is to stand.

What a person changed by hand is taken back, since the plan said so; what another tool applies, or a controller of the
cluster sets, is never taken by force: the error names it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.documents import document_of
from paictl.drivers.kubernetes.kinds import KINDS, Kind, kind_of
from paictl.drivers.kubernetes.naming import (
    AGENT,
    APPLIED,
    FINGERPRINT,
    HOLDS_DATA,
    MANAGER,
    NEEDS,
    TARGET,
    labels,
    owner_of,
)
from paictl.drivers.kubernetes.troubles import ApiError, Conflict, left_to
from paictl.engine.driver import Scope
from paictl.engine.model import Resource
from paictl.errors import PaictlError, Refused

__all__ = ["APPLY", "apply", "delete", "marked", "remove", "unclaimed"]

APPLY = "application/apply-patch+yaml"
"""What a server-side apply is sent as."""

_GONE_SECONDS = 180.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
# Controllers of the cluster itself that change what they did not make: an autoscaler of somebody's, above all.
_CONTROLLERS = ("kube-", "cluster-autoscaler", "horizontal-pod-autoscaler", "vpa-")


def marked(resource: Resource, scope: Scope, namespace: str, fingerprint: str) -> dict[str, Any]:
    """The resource's document with everything by which it is known again."""
    document = document_of(resource.spec, namespace, resource.address.name)
    metadata = document["metadata"]
    metadata["labels"] = {**metadata.get("labels", {}), **labels(scope)}
    marks = {
        FINGERPRINT: fingerprint,
        NEEDS: " ".join(str(one) for one in resource.depends_on),
        HOLDS_DATA: str(resource.holds_data).lower(),
    }
    if not document.get("immutable") and document["kind"] != "Secret":
        marks[APPLIED] = json.dumps(dict(resource.spec), sort_keys=True, separators=(",", ":"))
    metadata["annotations"] = {**metadata.get("annotations", {}), **marks}
    return document


def apply(connection: Connection, document: Json, what: str, *, dry: bool = False, force: bool = False) -> Any:
    """Apply it, strictly; raises ``ApiError`` with the conflicts where another manager holds a field."""
    kind, metadata = KINDS[document["kind"]], document["metadata"]
    query = {"fieldManager": MANAGER, "fieldValidation": "Strict", "force": str(force).lower()}
    if dry:
        query["dryRun"] = "All"
    path = kind.path(metadata["namespace"], metadata["name"])
    try:
        return connection.send("PATCH", path, what, document, kind=APPLY, **query)
    except ApiError as no:
        if kind.added and no.status == HTTPStatus.NOT_FOUND:
            raise ApiError(
                f"the cluster refused while {what}: it knows no {kind.kind}",
                help=f"Have an administrator add what defines {kind.plural}.{kind.group}, or leave out what asks for it.",
                status=no.status,
            ) from no
        if force or not no.conflicts:
            raise
        scaler = _scaler(connection, document, no.conflicts)
        if scaler:
            raise left_to(what, [("replicas", f"the HorizontalPodAutoscaler {scaler}")]) from no
        if not all(map(_by_hand, no.conflicts)):
            raise
    return apply(connection, document, what, dry=dry, force=True)


def _by_hand(conflict: Conflict) -> bool:
    """An edit, not another tool's declaration nor a controller's work; or a number that an autoscaler left behind, or we for it."""
    if conflict.field.endswith("spec.replicas"):
        return conflict.updated or conflict.manager.startswith(MANAGER)
    return conflict.updated and not conflict.manager.startswith(_CONTROLLERS)


def _scaler(connection: Connection, document: Json, conflicts: Iterable[Conflict]) -> str:
    """Whose number of replicas it is, by name; clusters of one program write all that they do under that program's name.

    One of ours is not: where the number is declared, it is on its way out.
    """
    if not any(one.field.endswith("spec.replicas") for one in conflicts):
        return ""
    metadata, kind = document["metadata"], KINDS["HorizontalPodAutoscaler"]
    mine = {key: value for key, value in metadata.get("labels", {}).items() if key in {AGENT, TARGET}}
    for one in connection.ask(kind.path(metadata["namespace"]), "looking for who scales it")["items"]:
        target = one["spec"]["scaleTargetRef"]
        ours = bool(mine) and mine.items() <= (one["metadata"].get("labels") or {}).items()
        if (target["kind"], target["name"]) == (document["kind"], metadata["name"]) and not ours:
            return str(one["metadata"]["name"])
    return ""


def unclaimed(connection: Connection, scope: Scope, document: Json) -> None:
    """Raise ``Refused`` when something stands there by now that is not this agent's."""
    kind, name = KINDS[document["kind"]], str(document["metadata"]["name"])
    found = connection.find(kind.path(document["metadata"]["namespace"], name), f"looking for {kind.word}/{name}")
    if found is not None and owner_of(scope, found["metadata"].get("labels")) != "mine":
        raise Refused(
            f"{kind.word}/{name} already exists and is not paictl's",
            help="It came while the plan was being carried out: remove it, or adopt it.",
        )


def remove(connection: Connection, spec: Json, namespace: str, name: str, handle: str = "") -> None:
    """Take it away and wait until it is gone; nothing there, or another one by now, is fine."""
    delete(connection, kind_of(spec), namespace, name, uid=handle)


def delete(connection: Connection, kind: Kind, namespace: str, name: str, *, uid: str = "") -> None:
    """Delete with all that belongs to it, and wait for its end, finalizers included."""
    what, path = f"removing {kind.word}/{name}", kind.path(namespace, name)
    options: dict[str, Any] = {"propagationPolicy": "Foreground"}
    if uid:
        options["preconditions"] = {"uid": uid}
    try:
        connection.send("DELETE", path, what, options)
    except ApiError as no:
        if no.status == HTTPStatus.NOT_FOUND or (uid and no.status == HTTPStatus.CONFLICT):
            return
        raise
    deadline, pause = time.monotonic() + _GONE_SECONDS, _FIRST_PAUSE
    while (left := connection.find(path, what)) is not None and uid in {"", left["metadata"]["uid"]}:
        if time.monotonic() > deadline:
            raise PaictlError(
                f"{kind.word}/{name} does not go: {_held_by(left['metadata'])}", help=_help(left["metadata"])
            )
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _held_by(metadata: Mapping[str, Any]) -> str:
    finalizers = metadata.get("finalizers") or []
    return f"it waits for {', '.join(finalizers)}" if finalizers else "the cluster has not removed it yet"


def _help(metadata: Mapping[str, Any]) -> str:
    if "foregroundDeletion" in (metadata.get("finalizers") or ()):
        return "What belongs to it has not ended: `kubectl get pods` shows which pods, and what they wait for."
    if "kubernetes.io/pvc-protection" in (metadata.get("finalizers") or ()):
        return "A pod still uses it: `kubectl get pods` shows which one."
    return "Whoever set the finalizer has to remove it; then run the same command again."
