"""How a target is reached privately, as types, with the checks that types can't say. Pure; ``sections.py`` puts it into targets."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from paictl.hosts import is_loopback
from paictl.manifest.findings import Finding, TreePath, dotted
from paictl.manifest.strict import Name, Strict
from paictl.manifest.tree import entries, mapping_at, text_at

__all__ = ["NETWORK", "Vpn", "VpnPeer", "VpnService", "check_vpns", "door_address"]

NETWORK = "10.87.0.0/24"
"""Of the addresses that RFC 1918 leaves to everybody, few that home routers and clusters begin with."""

_Key = Annotated[str, Field(title="a WireGuard key of 44 characters", pattern=r"^[A-Za-z0-9+/]{43}=$")]
_Address = Annotated[str, Field(title="an IP address", pattern=r"^[0-9a-f.:]+$")]
_Place = Annotated[str, Field(title="HOST:PORT", pattern=r"^(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")]
_Name = Annotated[str, Field(title="a host's name", pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
_Kubernetes = Annotated[str, Field(title="a name of Kubernetes", pattern=r"^[a-z0-9]([a-z0-9./-]{0,251}[a-z0-9])?$")]


class VpnPeer(Strict):
    """A device that may reach the gateway. Its private key never leaves it."""

    public_key: _Key = Field(description="Its public key; `paictl vpn add` makes a pair and prints both, once.")
    address: _Address = Field(description="Its address in the VPN, which nobody else can take.", examples=["10.87.0.2"])


class VpnService(Strict):
    """The Kubernetes Service at which the VPN begins."""

    type: Literal["NodePort", "LoadBalancer", "ClusterIP"] = Field(
        default="NodePort", description="How it is reached from outside of the cluster."
    )
    node_port: int | None = Field(
        default=None, ge=1, le=65535, description="NodePort: the port of the nodes; the cluster chooses without."
    )
    class_: _Kubernetes | None = Field(
        default=None, alias="class", description="LoadBalancer: its class.", examples=["tailscale"]
    )
    annotations: dict[str, str] = Field(
        default_factory=dict,
        description="What a load balancer or a mesh wants to know.",
        examples=[{"tailscale.com/expose": "true"}],
    )


class Vpn(Strict):
    """How the target is reached privately: the gateway is bound to this and to nothing else."""

    kind: Literal["wireguard"] = Field(default="wireguard", description="The VPN's kind.")
    manage: Literal["managed", "external"] = Field(
        default="managed", description="Whether paictl sets it up, or a mesh such as Tailscale exists already."
    )
    endpoint: _Place | None = Field(
        default=None,
        description="managed: where devices find it from outside, as HOST:PORT.",
        examples=["vpn.example.org:51820"],
    )
    network: str = Field(default=NETWORK, description="managed: its addresses; the first is the gateway's.")
    peers: dict[Name, VpnPeer] = Field(
        default_factory=dict,
        description="managed: the devices that may reach the gateway, by name.",
        examples=[{"phone": {"public_key": "Hk0xwHsrMbMKZSvmHyTFLWnqXlFZ5kbJ0qO0kQLqPXo=", "address": "10.87.0.2"}}],
    )
    address: _Address | None = Field(
        default=None,
        description="external, not on Kubernetes: the machine's address in the mesh; the gateway listens there alone.",
        examples=["100.64.0.7"],
    )
    host: _Name | None = Field(
        default=None,
        description="The name that devices call the gateway by, where they have one for its address.",
        examples=["atlas.tail1234.ts.net"],
    )
    namespace: _Kubernetes | None = Field(
        default=None,
        description="external, on Kubernetes: the namespace of the mesh's pods, which alone may call the gateway.",
        examples=["tailscale"],
    )
    service: VpnService | None = Field(
        default=None,
        description="Kubernetes: the Service at which the VPN begins, or the one that the mesh picks up.",
        examples=[{"type": "LoadBalancer", "class": "tailscale"}],
    )


def door_address(network: str) -> str:
    """The gateway's address in the VPN: the first of the network."""
    return str(ipaddress.ip_network(network)[1])


# manage -> the keys that only the other one has
_NOT_OF: Mapping[str, tuple[str, ...]] = {
    "managed": ("address", "namespace"),
    "external": ("endpoint", "network", "peers"),
}


def check_vpns(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything about `targets.*.vpn` that types can't say."""
    for path, _, target in entries(tree, "spec", "targets"):
        if isinstance(target.get("vpn"), Mapping):
            vpn, below = mapping_at(target, "vpn"), (*path, "vpn")
            manage, driver = vpn.get("manage", "managed"), target.get("driver")
            yield from _keys(below, vpn, str(manage), str(driver))
            if manage == "managed":
                yield from _network(below, vpn)
            yield from _only_way_in(tree, path, vpn, str(manage), str(driver))


def _keys(path: TreePath, vpn: Mapping[str, Any], manage: str, driver: str) -> Iterator[Finding]:
    for key in _NOT_OF.get(manage, ()):
        if vpn.get(key) not in (None, {}, NETWORK):
            other = "managed" if manage == "external" else "external"
            yield _meaningless(path, key, f"only `manage: {other}` uses it")
    on_cluster = driver == "kubernetes"
    for key, here in (("address", not on_cluster), ("namespace", on_cluster), ("service", on_cluster)):
        if vpn.get(key) is not None and not here and driver != "fake" and key not in _NOT_OF.get(manage, ()):
            yield _meaningless(
                path, key, "only driver kubernetes uses it" if on_cluster is False else "pods have their own"
            )
    needed = {
        ("managed", False): ("endpoint", "devices have to find it"),
        ("managed", True): ("endpoint", "devices have to find it"),
        ("external", False): ("address", "the gateway listens there, and nowhere else"),
        ("external", True): ("namespace", "the mesh's pods are let in, and nobody else"),
    }
    key, why = needed.get((manage, on_cluster), ("", ""))
    # Over ssh it is the machine's own address.
    if key and not vpn.get(key) and driver != "fake" and (manage, driver) != ("managed", "ansible"):
        yield Finding("needs", path, f"{dotted(path)} needs `{key}`", f"{why}: add `{key}: …`", at_key=True)


def _meaningless(path: TreePath, key: str, reason: str) -> Finding:
    return Finding(
        "not-with", (*path, key), f"`{key}` has no meaning in {dotted(path)}", f"remove it: {reason}", at_key=True
    )


def _network(path: TreePath, vpn: Mapping[str, Any]) -> Iterator[Finding]:
    written = vpn.get("network", NETWORK)
    try:
        network = ipaddress.ip_network(str(written))
    except ValueError as no:
        yield Finding("invalid-value", (*path, "network"), f"`{written}` is no block of addresses", f"{no}")
        return
    if network.num_addresses < 4 or not network.is_private:
        advice = f"take a private one that nothing else uses, such as {NETWORK}"
        yield Finding("invalid-value", (*path, "network"), f"`{written}` is no network for a VPN", advice)
        return
    taken = {door_address(str(network)): "the gateway's", str(network[0]): "the network's own"}
    keys: dict[str | None, str] = {}
    for below, name, peer in entries(vpn, "peers"):
        where: TreePath = (*path, *below)
        address, key = text_at(peer, "address"), text_at(peer, "public_key")
        if address is not None:
            yield from _address((*where, "address"), address, network, taken)
            taken.setdefault(address, f"{name}'s")
        if key in keys:
            advice = "make a pair of keys for each device: `paictl vpn add NAME`"
            summary = f"{name} and {keys[key]} have the same public key"
            yield Finding("invalid-value", (*where, "public_key"), summary, advice)
        elif key is not None:
            keys[key] = name


def _address(
    path: TreePath,
    address: str,
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
    taken: Mapping[str, str],
) -> Iterator[Finding]:
    try:
        inside = ipaddress.ip_address(address) in network
    except ValueError:
        yield Finding("invalid-value", path, f"`{address}` is not an IP address", f"take one of {network}")
        return
    if not inside:
        yield Finding("invalid-value", path, f"{address} is not in the VPN's network", f"take one of {network}")
    elif address in taken:
        yield Finding(
            "invalid-value", path, f"{address} is {taken[address]} address already", "give each device its own"
        )


def _only_way_in(
    tree: Mapping[str, Any], path: TreePath, vpn: Mapping[str, Any], manage: str, driver: str
) -> Iterator[Finding]:
    """A door beside the VPN would make it useless."""
    if mapping_at(tree, "spec", "targets", str(path[-1]), "cluster", "ingress"):
        advice = "keep one: with a VPN, nobody else is to find the gateway at all"
        yield Finding(
            "not-with",
            (*path, "cluster", "ingress"),
            f"{dotted(path)} has both a VPN and an `ingress`",
            advice,
            at_key=True,
        )
    address = text_at(vpn, "address")
    if address is not None and (is_loopback(address) or address in {"0.0.0.0", "::"}):  # noqa: S104 - compared, not bound
        advice = "write the machine's own address there, such as `tailscale ip -4` prints it"
        yield Finding("invalid-value", (*path, "vpn", "address"), f"{address} is no address of a VPN", advice)
    bind = text_at(tree, "spec", "gateway", "bind")
    if bind is None or is_loopback(bind) or (manage == "external" and driver != "kubernetes" and bind == address):
        return
    advice = "leave it out: the VPN says where the gateway is reached"
    yield Finding(
        "not-with",
        ("spec", "gateway", "bind"),
        f"`bind: {bind}` would be a way around {dotted((*path, 'vpn'))}",
        advice,
    )
