"""Who reaches whom, as ports and address blocks: what firewalls and network policies can say. Pure; used by the renderers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from paictl.blueprint.types import Blueprint

__all__ = ["Outside", "destinations", "ports_by_service"]

# What a public name must not lead to: a name that resolves to the inside would be a way around the door. RFC 1918, 6598,
# 3927 (with the clouds' metadata address), 4193 and 4291.
_INSIDE_4 = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
_INSIDE_6 = ("::1/128", "fc00::/7", "fe80::/10")
_ANYWHERE = {"0.0.0.0/0": _INSIDE_4, "::/0": _INSIDE_6}
_HTTPS = 443


@dataclass(frozen=True, slots=True)
class Outside:
    """Where hosts are: address blocks with what is left out of each, and one port. ``named``: a resolver is needed."""

    hosts: tuple[str, ...]
    port: int
    blocks: Mapping[str, tuple[str, ...]]
    named: bool


def destinations(egress: Iterable[str]) -> tuple[Outside, ...]:
    """The declared ``HOST[:PORT]`` as destinations: an address as itself, all names of one port as any public address."""
    literal: list[Outside] = []
    names: dict[int, list[str]] = {}
    for host in dict.fromkeys(egress):
        parts = urlsplit(f"//{host}")
        port = parts.port or _HTTPS
        try:
            address = ipaddress.ip_address(parts.hostname or "")
        except ValueError:
            names.setdefault(port, []).append(host)
        else:
            literal.append(Outside((host,), port, {f"{address}/{address.max_prefixlen}": ()}, named=False))
    named = (Outside(tuple(hosts), port, _ANYWHERE, named=True) for port, hosts in names.items())
    return (*literal, *named)


def ports_by_service(blueprint: Blueprint, reaches: Iterable[str]) -> Mapping[str, list[int]]:
    """``SERVICE/ENDPOINT`` pairs as service -> ports."""
    found: dict[str, list[int]] = {}
    for pair in reaches:
        name, _, endpoint = pair.partition("/")
        found.setdefault(name, []).append(blueprint.service(name).endpoint(endpoint).port)
    return found
