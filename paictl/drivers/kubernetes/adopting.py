"""Marks what stands as ours, and changes nothing else about it. Used by the driver."""

from __future__ import annotations

from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.kinds import kind_of
from paictl.drivers.kubernetes.naming import MANAGER, labels
from paictl.engine.driver import Scope
from paictl.engine.model import Observed

__all__ = ["adopt"]


def adopt(connection: Connection, scope: Scope, namespace: str, observed: Observed) -> None:
    """Put our labels on it; the next apply writes down what it then is."""
    path = kind_of(observed.spec).path(namespace, observed.address.name)
    patch = {"metadata": {"uid": observed.handle, "labels": labels(scope)}}
    what = f"adopting {observed.address}"
    connection.send("PATCH", path, what, patch, kind="application/merge-patch+json", fieldManager=MANAGER)
