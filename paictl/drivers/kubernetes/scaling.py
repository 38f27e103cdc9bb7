"""Hands over who says how many of a workload run: from what paictl declares to an autoscaler, and back. Called by ``mending``.

A field that one manager leaves and no other holds falls back to its default, so that of ten replicas one would be left until
the autoscaler looks again (https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership). And an
autoscaler that is about to go would once more change what is declared by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paictl.drivers.kubernetes.applying import APPLY, delete
from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.kinds import KINDS
from paictl.drivers.kubernetes.naming import MANAGER, owner_of
from paictl.drivers.kubernetes.troubles import ApiError
from paictl.engine.driver import Scope

__all__ = ["hand_over"]

_SCALER = KINDS["HorizontalPodAutoscaler"]


def hand_over(connection: Connection, scope: Scope, document: Json, before: Mapping[str, object]) -> None:
    """Before the apply of a workload that is there, and was declared as ``before`` says."""
    if "template" not in document.get("spec", {}) or "selector" not in document["spec"]:
        return
    declares = "replicas" in document["spec"]
    if declares and "replicas" not in before:
        _remove_scaler(connection, scope, document)
    elif not declares and "replicas" in before:
        _keep_number(connection, document)


def _keep_number(connection: Connection, document: Json) -> None:
    metadata, kind = document["metadata"], KINDS[document["kind"]]
    what = f"handing {metadata['name']} over to its autoscaler"
    path = kind.path(metadata["namespace"], metadata["name"])
    live = connection.find(path, what)
    if live is None:
        return
    held: dict[str, Any] = {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": {"replicas": live["spec"]["replicas"]},
    }
    try:
        connection.send("PATCH", path, what, held, kind=APPLY, fieldManager=f"{MANAGER}-handover")
    except ApiError as no:
        # Whoever changed it since it was looked at holds it already: most of all that autoscaler.
        if not no.conflicts:
            raise


def _remove_scaler(connection: Connection, scope: Scope, document: Json) -> None:
    """The one that is ours; its own step finds it gone."""
    metadata = document["metadata"]
    for one in connection.ask(_SCALER.path(metadata["namespace"]), f"looking for who scales {metadata['name']}")[
        "items"
    ]:
        target, found = one["spec"]["scaleTargetRef"], one["metadata"]
        ours = owner_of(scope, found.get("labels")) == "mine"
        if ours and (target["kind"], target["name"]) == (document["kind"], metadata["name"]):
            delete(connection, _SCALER, metadata["namespace"], found["name"], uid=found["uid"])
