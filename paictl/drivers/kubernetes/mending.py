"""Mends what an apply alone does not: what was added by hand, pods that wait for their next try, Jobs that failed. Used by the driver."""

from __future__ import annotations

from datetime import UTC, datetime

from paictl.drivers.kubernetes import pods
from paictl.drivers.kubernetes.additions import Addition, additions
from paictl.drivers.kubernetes.applying import delete
from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.health import is_late, pod_trouble
from paictl.drivers.kubernetes.kinds import KINDS, POD
from paictl.drivers.kubernetes.naming import MANAGER, TRIED
from paictl.drivers.kubernetes.openings import refusal
from paictl.drivers.kubernetes.scaling import hand_over
from paictl.drivers.kubernetes.troubles import left_to
from paictl.engine.driver import Scope
from paictl.engine.model import Observed, Step

__all__ = ["mend"]


def mend(connection: Connection, scope: Scope, step: Step, document: Json) -> None:
    """Before the apply of an update: take away what keeps it from becoming what it is to be, and well.

    Raises ``Refused`` for what is not ours to take away.
    """
    observed = step.observed
    if observed is None:
        return
    opened = refusal(scope, [observed])
    if opened is not None:
        raise opened
    hand_over(connection, scope, document, observed.spec)
    if step.resource is not None and observed.spec.keys() - step.resource.spec.keys():
        _take_back(connection, step, observed, document)
    if observed.health.state != "healthy":
        _make_way(connection, observed, document)


def _take_back(connection: Connection, step: Step, observed: Observed, document: Json) -> None:
    """Remove what the plan told as added. What was adopted has been somebody else's until now, all of it."""
    metadata = document["metadata"]
    path = KINDS[document["kind"]].path(metadata["namespace"], metadata["name"])
    live = connection.find(path, f"looking at {step.address}")
    added = additions(live, document) if live is not None else []
    theirs = [one for one in added if not one.updated and observed.fingerprint]
    if theirs:
        raise left_to(f"mending {step.address}", [(one.name, one.manager) for one in theirs])
    if added:
        what = f"taking back what was added to {step.address}"
        operations = [one for addition in reversed(added) for one in _removal(addition)]
        connection.send("PATCH", path, what, operations, kind="application/json-patch+json", fieldManager=MANAGER)


def _removal(addition: Addition) -> list[dict[str, object]]:
    pointer = "".join(f"/{str(one).replace('~', '~0').replace('/', '~1')}" for one in addition.path)
    # Only what was seen: entries of lists are known by their places here.
    return [{"op": "test", "path": pointer, "value": addition.value}, {"op": "remove", "path": pointer}]


def _make_way(connection: Connection, observed: Observed, document: Json) -> None:
    metadata, kind = document["metadata"], KINDS[document["kind"]]
    if kind.kind == "Job" and observed.health.state == "unhealthy":
        delete(connection, kind, metadata["namespace"], metadata["name"], uid=observed.handle)
    elif kind.kind in {"Deployment", "StatefulSet"}:
        selector = document["spec"]["selector"]["matchLabels"]
        for pod in pods.of_selector(connection, metadata["namespace"], selector):
            # Its controller makes it anew at once, instead of after a pause that doubles each time.
            if pod_trouble(connection, pod) is not None:
                delete(connection, POD, metadata["namespace"], pod["metadata"]["name"], uid=pod["metadata"]["uid"])
        _try_again(connection, observed, kind.path(metadata["namespace"], metadata["name"]))


def _try_again(connection: Connection, observed: Observed, path: str) -> None:
    """The same for pods that could not be made at all; and a rollout that has run out of time begins anew."""
    live = connection.find(path, f"looking at {observed.address}")
    if live is None:
        return
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    patch: dict[str, object] = {"metadata": {"annotations": {TRIED: now}}}
    if is_late(live):
        patch["spec"] = {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}
    what = f"trying {observed.address} again"
    connection.send("PATCH", path, what, patch, kind="application/merge-patch+json", fieldManager=MANAGER)
