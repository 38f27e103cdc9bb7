"""Keeps the data of an agent of which nothing else stands in use, so that clearing an engine by hand leaves it alone. Called by ``ledger``.

Engines before 23 take every volume that no container has for forgotten: `docker volume prune` removes it, named or not. So a
container that is never started has them mounted for as long as no service does. It reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paictl.drivers.docker import empty_image
from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.naming import engine_name, labels, owner_of
from paictl.drivers.docker.troubles import EngineError
from paictl.engine.driver import Scope

__all__ = ["KEPT", "container_name", "keep", "release"]

KEPT = "kept"
"""The kind, by its label, of that container."""

_FOLDER = "/kept"


def container_name(scope: Scope) -> str:
    """What has the data mounted."""
    return f"{scope.agent}-paictl-{KEPT}"


def keep(connection: Connection, scope: Scope, inventory: Mapping[str, object]) -> None:
    """Have the data in use when it is all that the inventory still knows of; otherwise its services have it. Safe to repeat."""
    there, wanted = _found(connection, scope), _data(connection, scope, inventory)
    mounted = {str(one["Source"]) for one in there["HostConfig"].get("Mounts") or ()} if there else set()
    if mounted == wanted:
        return
    release(connection, scope)
    if wanted:
        volumes = {name: f"{_FOLDER}/{name}" for name in sorted(wanted)}
        empty_image.create(connection, container_name(scope), labels(scope, KEPT, KEPT), volumes)


def release(connection: Connection, scope: Scope) -> None:
    """Let go of it: nothing that is in use can be removed."""
    there = _found(connection, scope)
    if there:
        with connection.told(f"removing {container_name(scope)}"):
            connection.api.remove_container(there["Id"], force=True)


def _data(connection: Connection, scope: Scope, inventory: Mapping[str, object]) -> set[str]:
    """The volumes with the data of an agent that is otherwise gone, by the engine's own names."""
    records = inventory.get("resources")
    if not isinstance(records, Mapping) or not all(record.get("holds_data") for record in records.values()):
        return set()
    known = {engine_name(scope.agent, address.partition("/")[2]) for address in records}
    with connection.told("looking for the data that is kept"):
        # One that is named to a container and does not exist would be made.
        return known & {str(one["Name"]) for one in connection.api.volumes()["Volumes"] or ()}


def _found(connection: Connection, scope: Scope) -> dict[str, Any] | None:
    try:
        with connection.told(f"looking at {container_name(scope)}"):
            told: dict[str, Any] = connection.api.inspect_container(container_name(scope))
    except EngineError as error:
        if error.status != 404:
            raise
        return None
    return told if owner_of(scope, told["Config"].get("Labels")) == "mine" else None
