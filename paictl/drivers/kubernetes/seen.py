"""Every name and address that a pod could come to see: the services', their pods', and their nodes'. Called by the driver."""

from __future__ import annotations

from collections.abc import Iterator

from paictl.blueprint.types import Blueprint, Wiring
from paictl.drivers.kubernetes import pods
from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.kinds import KINDS
from paictl.engine.driver import Peer, Scope

__all__ = ["peers", "wiring"]

_MACHINE = "the machine"
_HEADLESS = "None"


def wiring(connection: Connection, namespace: str, blueprint: Blueprint, service: str) -> Wiring:
    """The addresses as the pods of that service see them, whom no names are told: those of the Services."""
    hosts = _fixed(connection, namespace)

    def address(name: str, endpoint: str) -> str:
        here = "0.0.0.0"  # noqa: S104 - inside a pod of its own
        host = here if name == service else hosts.get(name, name)
        return f"tcp:{host}:{blueprint.service(name).endpoint(endpoint).port}"

    return address


def peers(connection: Connection, scope: Scope, namespace: str, blueprint: Blueprint) -> Iterator[Peer]:
    """The services that run, and the machines that they run on."""
    fixed = _fixed(connection, namespace)
    running = pods.of_selector(connection, namespace, {"app.kubernetes.io/instance": scope.agent})
    states = [(one["metadata"].get("labels") or {}, one.get("status") or {}) for one in running]
    for service in blueprint.services:
        addresses = [
            str(status["podIP"])
            for marks, status in states
            if marks.get("app.kubernetes.io/component") == service.name and status.get("phase") == "Running"
        ]
        if addresses:
            known = [fixed[service.name]] if service.name in fixed else []
            yield Peer(service.name, (service.name, f"{service.name}.{namespace}"), (*addresses, *known))
    machines = dict.fromkeys(str(status["hostIP"]) for _, status in states if status.get("hostIP"))
    yield Peer(_MACHINE, (), tuple(machines))


def _fixed(connection: Connection, namespace: str) -> dict[str, str]:
    """The addresses of the Services that have one of their own."""
    found = connection.ask(KINDS["Service"].path(namespace), "looking at addresses")["items"]
    pairs = ((str(one["metadata"]["name"]), str(one["spec"].get("clusterIP", ""))) for one in found)
    return {name: address for name, address in pairs if address not in {"", _HEADLESS}}
