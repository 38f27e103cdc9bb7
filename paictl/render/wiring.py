"""The addresses that services see of each other, and their configuration with these in it. Pure; used by every renderer."""

from __future__ import annotations

import json

from paictl.blueprint.types import Blueprint, Service, Wiring, wire

__all__ = ["by_names", "by_sockets", "configuration"]


def by_sockets(blueprint: Blueprint) -> Wiring:
    """On one machine: the gateway listens for people on TCP; all else is a socket in its service's own run directory."""

    def address(service: str, endpoint: str) -> str:
        found = blueprint.service(service).endpoint(endpoint)
        return f"tcp:{found.authority}" if found.public else f"unix:run/{service}/{endpoint}.sock"

    return address


def by_names(blueprint: Blueprint, service: Service, host: str = "{name}") -> Wiring:
    """Between containers, as one of them sees it: its own endpoints listen everywhere, others' are ``host`` on their network."""

    def address(name: str, endpoint: str) -> str:
        there = host.format(name=name, NAME=name.upper().replace("-", "_"))
        here = "0.0.0.0"  # noqa: S104 - inside a container's own network
        return f"tcp:{here if name == service.name else there}:{blueprint.service(name).endpoint(endpoint).port}"

    return address


def configuration(service: Service, wiring: Wiring) -> str:
    """The text of the service's configuration file."""
    content = wire(service.config.content, wiring)
    return content if isinstance(content, str) else json.dumps(content, indent=2, sort_keys=True) + "\n"
