"""What a cluster offers, and how the gateway is reached privately, as plain values: a part of the blueprint for few drivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Cards", "Cluster", "Door", "PrivateDoor", "SecretStore", "Toleration", "Tunnel"]


@dataclass(frozen=True, slots=True)
class Door:
    """The way in from outside: ``kind`` is ingress or gateway. ``tls`` is a Secret, or the name of a Gateway's listener.

    Requests come from pods of ``namespace`` with the labels ``pods``, and from ``blocks`` of addresses.
    """

    kind: str
    host: str
    tls: str
    class_name: str = ""
    gateway: str = ""
    namespace: str = ""
    pods: Mapping[str, str] = field(default_factory=dict)
    blocks: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """WireGuard of a host's own, which ends at ``address`` on the gateway's host; ``peers``: name, public key, address of each."""

    interface: str
    port: int
    address: str
    network: str
    peers: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PrivateDoor:
    """What leads into the VPN: a Service before paictl's own, or one of the gateway that a mesh picks up.

    ``namespace``: of the mesh's pods, which alone may then call the gateway. ``node_port``: 0 leaves it to the cluster.
    ``tunnel``: on hosts, where neither is.
    """

    service: str
    type: str
    node_port: int = 0
    class_name: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    tunnel: Tunnel | None = None


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that pods put up with, in Kubernetes' own words; what is empty is left out."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class Cards:
    """How a model's server gets graphics cards."""

    resource: str = "nvidia.com/gpu"
    count: int = 1
    runtime_class: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SecretStore:
    """Where the External Secrets Operator brings declared secrets from; ``refresh`` as it writes durations."""

    name: str
    kind: str
    refresh: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """What one cluster offers and wants; the defaults are what every cluster has."""

    ingress: Door | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    cards: Cards = field(default_factory=Cards)
    spread: tuple[str, ...] = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    storage_class: str = ""
    shared_storage_class: str = ""
    secret_store: SecretStore | None = None
    pull_secrets: tuple[str, ...] = ()
    registry: str = ""
    priority_class: str = ""
