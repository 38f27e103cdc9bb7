"""What a host is told of those it talks to: the agent's other hosts, and devices in its VPN. Pure; variables for ``render.units``."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from paictl.blueprint.types import Blueprint, Host

__all__ = ["link_vars", "openings"]

# A host that is named may have another address tomorrow; it is in one of the networks that are nobody's in particular.
_NEAR = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10")


def link_vars(blueprint: Blueprint, host: str) -> Mapping[str, object]:
    """The variables of role ``link``: this host's end of the links; empty where nothing crosses between it and others."""
    hosts = {one.name: one for one in blueprint.hosts}
    asks = {
        f"{one.service}/{one.endpoint}": {
            "host": one.server,
            "address": hosts[one.server].address,
            "port": hosts[one.server].link,
        }
        for one in blueprint.links
        if one.client == host
    }
    gives: dict[str, list[str]] = {}
    for one in blueprint.links:
        if one.server == host:
            gives.setdefault(one.client, []).append(f"{one.service}/{one.endpoint}")
    if not asks and not gives:
        return {}
    peers = _peers(blueprint, host)
    return {
        "link_peers": [one.name for one in peers],
        "link_asks": asks,
        "link_gives": gives,
        "link_listen": hosts[host].link if gives else 0,
        "link_allowed": [one.address for one in peers] if all(map(_numbered, peers)) else [],
    }


def openings(blueprint: Blueprint, host: str) -> list[Mapping[str, object]]:
    """What of its ports is open to whom beside people's (role ``hardening``): the link's, to the hosts that ask there."""
    clients = {one.client for one in blueprint.links if one.server == host}
    if not clients:
        return []
    sources = _sources([one for one in blueprint.hosts if one.name in clients])
    return [{"port": one.link, "sources": sources} for one in blueprint.hosts if one.name == host]


def _peers(blueprint: Blueprint, host: str) -> list[Host]:
    """Those that it asks or that ask it, in the order of the manifest."""
    names = {one.server for one in blueprint.links if one.client == host}
    names |= {one.client for one in blueprint.links if one.server == host}
    return [one for one in blueprint.hosts if one.name in names]


def _sources(hosts: Sequence[Host]) -> list[str]:
    found = sorted(one.address for one in hosts if _numbered(one))
    # One that is in a network already would be an error of the firewall's.
    return found if len(found) == len(hosts) else list(_NEAR)


def _numbered(host: Host) -> bool:
    """Whether its address is a number: nothing has to be asked what it means, and it means the same tomorrow."""
    try:
        ipaddress.ip_address(host.address)
    except ValueError:
        return False
    return True
