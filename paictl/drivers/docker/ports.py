"""Whether the ports that an agent publishes are free on its engine's machine, and who has them where not. Called by ``preflight``."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import Any

from paictl.blueprint.types import Blueprint, Endpoint
from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.naming import AGENT, TARGET
from paictl.errors import Refused

__all__ = ["check"]

_ANY = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def check(connection: Connection, blueprint: Blueprint, *, local: bool) -> None:
    """Raise ``Refused`` for a taken one. ``local``: the engine's machine is this one, so that other programs can be seen, too."""
    standing = connection.api.containers()
    for endpoint in (one for service in blueprint.services for one in service.endpoints if one.published):
        holders = [one for one in standing if _publishes(one, endpoint)]
        strangers = [one for one in holders if not _ours(blueprint, one)]
        if strangers:
            raise _taken(endpoint, _named(strangers[0]))
        if not holders and local and not _free(endpoint):
            raise _taken(endpoint, _program(endpoint) or "another program of the engine's machine")


def _publishes(container: Mapping[str, Any], endpoint: Endpoint) -> bool:
    return any(
        one.get("PublicPort") == endpoint.port
        and one.get("Type", "tcp") == ("udp" if endpoint.udp else "tcp")
        and (one.get("IP", "") in {*_ANY, endpoint.bind} or endpoint.bind in _ANY)
        for one in container.get("Ports") or ()
    )


def _ours(blueprint: Blueprint, container: Mapping[str, Any]) -> bool:
    marks = container.get("Labels") or {}
    return (marks.get(AGENT), marks.get(TARGET)) == (blueprint.agent, blueprint.target)


def _named(container: Mapping[str, Any]) -> str:
    agent = (container.get("Labels") or {}).get(AGENT)
    name = f"the container {container['Names'][0].lstrip('/')}"
    return f"the agent {agent}, {name}" if agent else name


def _taken(endpoint: Endpoint, by: str) -> Refused:
    return Refused(
        f"port {endpoint.port} on {endpoint.bind} is taken by {by}",
        help="End it, or choose another port with `vpn.endpoint`."
        if endpoint.udp
        else "End it, or choose another port with `spec.gateway.port`.",
    )


def _free(endpoint: Endpoint) -> bool:
    family = socket.AF_INET6 if ":" in endpoint.bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if endpoint.udp else socket.SOCK_STREAM) as attempt:
        if not endpoint.udp:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((endpoint.bind, endpoint.port))
        except PermissionError:
            # The engine may bind what this user may not.
            return True
        except OSError:
            return False
    return True


def _program(endpoint: Endpoint) -> str:
    """Which program listens there, where this user may see that; else empty."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for one in psutil.net_connections(kind="udp" if endpoint.udp else "tcp"):
            listens = endpoint.udp or one.status == psutil.CONN_LISTEN
            if listens and one.pid and one.laddr[1:2] == (endpoint.port,):
                return f"{psutil.Process(one.pid).name()} (pid {one.pid})"
    return ""
