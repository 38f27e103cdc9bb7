"""What a host is told of those it talks to: the agent's other hosts, and devices in its VPN. Pure; variables for ``render.roles``."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from paictl.blueprint.types import Blueprint, Host
from paictl.render.layout import build, user_of

__all__ = ["NEIGHBOURLY", "neighbour_hosts", "neighbour_vars", "openings"]

NEIGHBOURLY = ("link", "vpn")
"""The roles, in the order in which they run: after ``runtime``, whose user and build they use."""

# A host that is named may have another address tomorrow; it is in one of the networks that are nobody's in particular.
_NEAR = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10")


def neighbour_hosts(blueprint: Blueprint, role: str, every: Sequence[str]) -> tuple[str, ...]:
    """Which of these hosts such a role is for. Raises ``KeyError`` for a role that is none of these."""
    return tuple(name for name in every if neighbour_vars(blueprint, role, name))


def neighbour_vars(blueprint: Blueprint, role: str, host: str) -> Mapping[str, object]:
    """What such a role is told on a host; empty where it is not for it."""
    return {"link": _link, "vpn": _vpn}[role](blueprint, host)


def _link(blueprint: Blueprint, host: str) -> Mapping[str, object]:
    """The host's end of the links; nothing where nothing crosses between it and others."""
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
        "link_agent": blueprint.agent,
        "link_user": user_of(blueprint.agent),
        "link_code": f"/opt/paictl/runtime/{build(blueprint)}",
        "link_peers": [one.name for one in peers],
        "link_asks": asks,
        "link_gives": gives,
        "link_listen": hosts[host].link if gives else 0,
        "link_allowed": [one.address for one in peers] if all(map(_numbered, peers)) else [],
    }


def openings(blueprint: Blueprint, host: str) -> list[Mapping[str, object]]:
    """What of its ports is open beside people's, and to whom (role ``hardening``): the link's to hosts, the VPN's to devices."""
    found: list[Mapping[str, object]] = []
    clients = {one.client for one in blueprint.links if one.server == host}
    if clients:
        sources = _sources([one for one in blueprint.hosts if one.name in clients])
        found += [{"port": one.link, "sources": sources} for one in blueprint.hosts if one.name == host]
    if told := _vpn(blueprint, host):
        # Who has no key gets no answer there; and from inside, the gateway's port is all there is.
        found.append({"port": told["vpn_port"], "protocol": "udp"})
        found.append({"port": told["vpn_gateway_port"], "interface": told["vpn_interface"]})
    return found


def _vpn(blueprint: Blueprint, host: str) -> Mapping[str, object]:
    """The VPN's end; nothing where the gateway is not, or has no VPN that ends on its host."""
    tunnel = blueprint.vpn.tunnel if blueprint.vpn else None
    door, public = blueprint.public
    if tunnel is None or door.host not in {host, ""}:
        return {}
    return {
        "vpn_agent": blueprint.agent,
        "vpn_interface": tunnel.interface,
        "vpn_port": tunnel.port,
        "vpn_address": tunnel.address,
        "vpn_network": tunnel.network,
        "vpn_gateway_port": public.port,
        "vpn_peers": [{"name": name, "public_key": key, "address": at} for name, key, at in tunnel.peers],
    }


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
