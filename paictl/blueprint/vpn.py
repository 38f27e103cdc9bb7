"""The VPN's part of the blueprint: WireGuard's end in one unprivileged program, or what an existing mesh has to find. Pure.

The program is ours to build (templates/vpn), since nobody publishes an image that does only this; where a machine is set up
over ssh, its kernel's WireGuard is the VPN and no service of the blueprint is.
"""

from __future__ import annotations

from collections.abc import Mapping

from paictl.blueprint.images import pinned_reference
from paictl.blueprint.places import PrivateDoor
from paictl.blueprint.types import ConfigFile, Endpoint, HealthCheck, Limits, Service, Upstream
from paictl.blueprint.vpn_image import IMAGE
from paictl.manifest.load import Manifest
from paictl.manifest.vpn import Vpn, door_address

__all__ = ["bind", "entrance", "port", "server"]

_NAME = "vpn"
_KEY = "vpn-key"
_CONFIG = "config/vpn/vpn.json"
_ROOT = "/srv/paictl"
_DEFAULT_PORT = 51820
_NODE_PORTS = range(30000, 32768)
_MIB = 1 << 20


def bind(manifest: Manifest) -> str:
    """Where the gateway listens: at the machine's address in its mesh, else as the manifest says."""
    vpn = manifest.target_spec.vpn
    return vpn.address if vpn is not None and vpn.address is not None else manifest.agent.spec.gateway.bind


def port(vpn: Vpn) -> int:
    """The UDP port that devices know."""
    return int((vpn.endpoint or "").rpartition(":")[2] or _DEFAULT_PORT)


def server(manifest: Manifest, images: Mapping[str, str], *, containers: bool) -> Service | None:
    """The service in front of the gateway, when paictl is to run one; ``images`` are the locked references."""
    vpn = manifest.target_spec.vpn
    if vpn is None or vpn.manage == "external" or not containers:
        return None
    origin = manifest.origins.find(("spec", "targets", manifest.target, "vpn"))
    command = f"{_ROOT}/{_CONFIG}"
    return Service(
        name=_NAME,
        role="vpn",
        module="",
        config=ConfigFile(_CONFIG, _configuration(manifest, vpn)),
        endpoints=(Endpoint("wireguard", port(vpn), bind="0.0.0.0", udp=True),),  # noqa: S104 - who has no key gets no answer
        secrets=(_KEY,),
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
        "key_file": f"{_ROOT}/secrets/{_KEY}",
        "peers": {name: {"public_key": one.public_key, "address": one.address} for name, one in vpn.peers.items()},
    }


def entrance(manifest: Manifest) -> PrivateDoor | None:
    """What leads to the VPN on a cluster."""
    vpn = manifest.target_spec.vpn
    if vpn is None:
        return None
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
