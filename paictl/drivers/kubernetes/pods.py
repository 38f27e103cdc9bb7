"""The pods of one service: which they are, what their last lines were, and which serves. Used for health, logs and commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.kinds import POD
from paictl.errors import PaictlError

__all__ = ["events", "is_ready", "last_lines", "of_selector", "serving", "text_of"]

_EVENTS = 5


def text_of(selector: Mapping[str, str]) -> str:
    """A selector as a query names it."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def of_selector(connection: Connection, namespace: str, selector: Mapping[str, str]) -> list[Any]:
    """The pods that a selector of labels means, the youngest last."""
    found = connection.ask(POD.path(namespace), "looking at pods", labelSelector=text_of(selector))
    return sorted(found["items"], key=lambda one: str(one["metadata"]["creationTimestamp"]))


def serving(pods: Sequence[Json]) -> Json | None:
    """The one that has been ready longest; else the youngest that runs."""
    living = [one for one in pods if not one["metadata"].get("deletionTimestamp")]
    ready = [one for one in living if is_ready(one)]
    running = [one for one in living if (one.get("status") or {}).get("phase") == "Running"]
    return next(iter(ready), None) or next(iter(reversed(running)), None)


def is_ready(pod: Json) -> bool:
    """Whether it says that it may be talked to."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def last_lines(connection: Connection, pod: Json, container: str, count: int) -> list[str]:
    """The last lines of a container, of the one before it when it has only begun anew; none where there are none."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    path = f"{POD.path(namespace, name)}/log"
    for previous in ("false", "true"):
        with suppress(PaictlError):
            query = {"container": container, "tailLines": count, "previous": previous}
            said = b"".join(connection.follow(path, "reading a log", **query)).decode("utf-8", "replace")
            if said.strip():
                return said.splitlines()
    return []


def events(connection: Connection, namespace: str, uid: str, since: str = "") -> list[str]:
    """What the cluster's own parts warned of about one object, the latest last; ``since``: a time as RFC 3339 writes it."""
    with suppress(PaictlError):
        found = connection.ask(
            f"/api/v1/namespaces/{quote(namespace)}/events",
            "reading events",
            fieldSelector=f"involvedObject.uid={uid},type=Warning",
        )["items"]
        # To the second, as most of them are written.
        told = sorted((one for one in found if _when(one)[:19] >= since[:19]), key=_when)
        return [f"{one.get('reason', '')}: {one.get('message', '')}" for one in told[-_EVENTS:]]
    return []


def _when(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")
