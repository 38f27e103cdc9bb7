"""The VPN's part of the blueprint: WireGuard's end in one unprivileged program, or what an existing mesh has to find. Pure.

The program is ours to build (templates/vpn), since nobody publishes an image that does only this; where a machine is set up
over ssh, its kernel's WireGuard is the VPN and no service of the blueprint is.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping

from paictl.blueprint.images import pinned_reference
from paictl.blueprint.places import PrivateDoor, Tunnel
from paictl.blueprint.types import ConfigFile, Endpoint, HealthCheck, Limits, Service, Upstream
from paictl.blueprint.vpn_image import IMAGE
from paictl.hosts import bracketed
from paictl.manifest.load import Manifest
from paictl.manifest.machines import home
from paictl.manifest.vpn import Vpn, door_address

__all__ = ["KEY", "bind", "endpoint", "entrance", "own_names", "port", "server", "tunnelled"]

KEY = "vpn-key"
"""The generated secret that is the VPN's private key."""

_NAME = "vpn"
_CONFIG = "config/vpn/vpn.json"
_ROOT = "/srv/paictl"
_DEFAULT_PORT = 51820
_NODE_PORTS = range(30000, 32768)
_MIB = 1 << 20
# Of Linux: the longest name of an interface.
_LONGEST_NAME = 15


def bind(manifest: Manifest) -> str:
    """Where the gateway listens: at the machine's address in its mesh, else as the manifest says."""
    vpn = manifest.target_spec.vpn
    return vpn.address if vpn is not None and vpn.address is not None else manifest.agent.spec.gateway.bind


def port(vpn: Vpn) -> int:
    """The UDP port that devices know."""
    return int((vpn.endpoint or "").rpartition(":")[2] or _DEFAULT_PORT)


def tunnelled(manifest: Manifest) -> bool:
    """Whether the VPN is one that paictl sets up on a host, where no service of the blueprint is it."""
    vpn = manifest.target_spec.vpn
    return vpn is not None and vpn.manage == "managed" and manifest.target_spec.driver == "ansible"


def endpoint(manifest: Manifest) -> str:
    """Where devices find the VPN from outside: as the manifest says, else the address of the gateway's host."""
    vpn, hosts = manifest.target_spec.vpn, manifest.target_spec.hosts
    if vpn is None or vpn.endpoint or not tunnelled(manifest):
        return vpn.endpoint or "" if vpn else ""
    living = home({name: bool(host.runs) for name, host in hosts.items()})
    return f"{bracketed(hosts[living].address)}:{port(vpn)}" if living else ""


def own_names(manifest: Manifest) -> list[str]:
    """What devices call the gateway by in a VPN that ends beside it; in one that ends in a container it listens everywhere."""
    vpn = manifest.target_spec.vpn
    return [door_address(vpn.network)] if vpn is not None and tunnelled(manifest) else []


def server(manifest: Manifest, images: Mapping[str, str], *, containers: bool) -> Service | None:
    """The service in front of the gateway, when paictl is to run one; ``images`` are the locked references."""
    vpn = manifest.target_spec.vpn
    if vpn is None or vpn.manage == "external" or not containers or tunnelled(manifest):
        return None
    origin = manifest.origins.find(("spec", "targets", manifest.target, "vpn"))
    command = f"{_ROOT}/{_CONFIG}"
    return Service(
        name=_NAME,
        role="vpn",
        module="",
        config=ConfigFile(_CONFIG, _configuration(manifest, vpn)),
        endpoints=(Endpoint("wireguard", port(vpn), bind="0.0.0.0", udp=True),),  # noqa: S104 - who has no key gets no answer
        secrets=(KEY,),
        reaches=("gateway/http",),
        # People come in through it, as they do through the gateway.
        room=False,
        health=HealthCheck(endpoint=None, timeout_seconds=30.0),
        # 4 MiB measured idle.
        limits=Limits(memory=128 * _MIB, cpus=1),
        upstream=Upstream(
            image=IMAGE,
            reference=pinned_reference(manifest, images, IMAGE),
            command=(command,),
            entrypoint=("/vpn",),
            healthy=("/vpn", "--healthy", command),
        ),
        origin=origin,
    )


def _configuration(manifest: Manifest, vpn: Vpn) -> dict[str, object]:
    """What the program reads (templates/vpn/main.go). The private key is not among it: that is a file of its own."""
    return {
        "listen": port(vpn),
        "address": door_address(vpn.network),
        "port": manifest.agent.spec.gateway.port,
        "target": "endpoint://gateway/http",
        "key_file": f"{_ROOT}/secrets/{KEY}",
        "peers": {name: {"public_key": one.public_key, "address": one.address} for name, one in vpn.peers.items()},
    }


def entrance(manifest: Manifest) -> PrivateDoor | None:
    """What leads to the VPN on a cluster, or what it is on hosts."""
    vpn = manifest.target_spec.vpn
    if vpn is None:
        return None
    if tunnelled(manifest):
        return PrivateDoor("gateway", "", tunnel=_tunnel(manifest, vpn))
    said = vpn.service
    kind = said.type if said else ("NodePort" if vpn.manage == "managed" else "ClusterIP")
    number = port(vpn)
    wanted = said.node_port if said and said.node_port else number if number in _NODE_PORTS else 0
    return PrivateDoor(
        service=_NAME if vpn.manage == "managed" else "gateway",
        type=kind,
        node_port=wanted if kind == "NodePort" and vpn.manage == "managed" else 0,
        class_name=(said.class_ or "") if said else "",
        annotations=said.annotations if said else {},
        namespace=vpn.namespace or "",
    )


def _tunnel(manifest: Manifest, vpn: Vpn) -> Tunnel:
    name = f"vpn-{manifest.agent.metadata.name}"
    if len(name) > _LONGEST_NAME:
        # Cut, and told apart by its digest.
        name = f"{name[:8]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return Tunnel(
        interface=name,
        port=port(vpn),
        address=door_address(vpn.network),
        network=str(ipaddress.ip_network(vpn.network)),
        peers=tuple((name, one.public_key, one.address) for name, one in vpn.peers.items()),
    )
