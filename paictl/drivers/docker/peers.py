"""Every name and address that a room could come to see on an engine: the other services', and the machine's. Called by the driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.naming import AGENT, KIND, NAME, TARGET
from paictl.engine.driver import Peer, Scope

__all__ = ["peers"]

_MACHINE = "the machine"
# What Docker itself, and Docker Desktop, call the machine where they give it a name.
_MACHINE_NAMES = ("host.docker.internal", "gateway.docker.internal")


def peers(connection: Connection, scope: Scope) -> Iterator[Peer]:
    """The services that run, the keeper among them, and the machine with its address on every network."""
    wanted = {AGENT: scope.agent, TARGET: scope.target, KIND: "service"}
    filters = {"label": [f"{key}={value}" for key, value in wanted.items()]}
    with connection.told("looking at what rooms could see"):
        for one in connection.api.containers(filters=filters):
            name = str(one["Labels"][NAME])
            yield Peer(name, (name, *(each.lstrip("/") for each in one["Names"])), tuple(_addresses(one)))
        yield Peer(_MACHINE, _MACHINE_NAMES, tuple(dict.fromkeys(_bridges(connection))))


def _addresses(container: Mapping[str, Any]) -> Iterator[str]:
    joined = (container.get("NetworkSettings") or {}).get("Networks") or {}
    return (place["IPAddress"] for place in joined.values() if place.get("IPAddress"))


def _bridges(connection: Connection) -> Iterator[str]:
    """The machine's own address on each network, or the one that it would have where it was told to have none."""
    for network in connection.api.networks():
        for place in (network.get("IPAM") or {}).get("Config") or ():
            if place.get("Gateway"):
                yield str(place["Gateway"])
