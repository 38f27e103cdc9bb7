"""The engine's record of an agent, kept in a ConfigMap of the namespace. Used by the driver."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from paictl.drivers.kubernetes.applying import apply, delete, unclaimed
from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.kinds import CONFIG_MAP
from paictl.drivers.kubernetes.naming import labels, owner_of
from paictl.engine.driver import Scope

__all__ = ["load", "name_of", "save"]

_KEY = "inventory.json"


def name_of(scope: Scope) -> str:
    """The ConfigMap's name."""
    return f"{scope.agent}-paictl"


def save(connection: Connection, scope: Scope, namespace: str, inventory: Mapping[str, object]) -> None:
    """Keep it; raises ``Refused`` when a ConfigMap of that name is somebody else's. One without resources is not kept."""
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name_of(scope), "namespace": namespace, "labels": labels(scope)},
        "data": {_KEY: json.dumps(dict(inventory), sort_keys=True, separators=(",", ":"))},
    }
    unclaimed(connection, scope, document)
    if inventory.get("resources"):
        apply(connection, document, "keeping the record", force=True)
    else:
        delete(connection, CONFIG_MAP, namespace, name_of(scope))


def load(connection: Connection, scope: Scope, namespace: str) -> Mapping[str, object] | None:
    """What was kept, or None."""
    found = connection.find(CONFIG_MAP.path(namespace, name_of(scope)), "reading the record")
    if found is None or owner_of(scope, found["metadata"].get("labels")) != "mine":
        return None
    try:
        told: Any = json.loads(found["data"][_KEY])
    except (KeyError, TypeError, ValueError):
        return None
    return told if isinstance(told, dict) else None
