"""A pod that is there for one purpose, and gone after it. Used by ``weights`` and ``companion``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from paictl.drivers.kubernetes.applying import delete
from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.health import pod_trouble
from paictl.drivers.kubernetes.kinds import POD
from paictl.drivers.kubernetes.naming import MANAGER
from paictl.drivers.kubernetes.troubles import ApiError
from paictl.errors import PaictlError

__all__ = ["standing"]

_START_SECONDS = 300.0
_PAUSE_SECONDS = 0.3


@contextmanager
def standing(connection: Connection, pod: Json, purpose: str) -> Iterator[Json]:
    """The pod while it runs, made from its document, gone after the block; one that was left by a kill goes before."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    delete(connection, POD, namespace, name)
    try:
        yield _started(connection, pod, purpose)
    finally:
        delete(connection, POD, namespace, name)


def _started(connection: Connection, pod: Json, purpose: str) -> Json:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    what = f"starting {name}"
    try:
        connection.send("POST", POD.path(namespace), what, pod, fieldManager=MANAGER, fieldValidation="Strict")
    except ApiError as no:
        if no.status != HTTPStatus.CONFLICT:
            raise
    deadline = time.monotonic() + _START_SECONDS
    while True:
        found = connection.ask(POD.path(namespace, name), what)
        if (found.get("status") or {}).get("phase") == "Running":
            return found  # type: ignore[no-any-return] # what the API server answers
        trouble = pod_trouble(connection, found)
        if trouble is not None or time.monotonic() > deadline:
            reason = trouble.detail if trouble else "it did not start in time"
            raise PaictlError(f"the pod that {purpose} does not run: {reason}")
        time.sleep(_PAUSE_SECONDS)
