"""Compiles a checked manifest into the blueprint: one room, one door, and a server for each local model. Pure.

Called by the command line for every verb that looks at a target. What the parts are made of stands beside this file, one
module a part; here is only how they come together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paictl.blueprint import agent, clusters, gateway, models, orchestration, periodic, stores, vpn
from paictl.blueprint.hosts import placed
from paictl.blueprint.images import pinned_reference
from paictl.blueprint.scaling import scaled
from paictl.blueprint.secrets import secret_files
from paictl.blueprint.systems import host_system
from paictl.blueprint.types import Blueprint, Host, RuntimePin
from paictl.manifest.load import Manifest
from paictl.manifest.lock import LockedModel

__all__ = ["Resolved", "compile_blueprint"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a manifest alone does not say: what intent was resolved to on this target.

    ``fingerprints`` are keyed ones of the declared secrets' values; ``threads`` is how many a local chat model may use;
    ``images`` are exact references of container images, by their names in the manifest; ``containers``: the driver runs
    images at all, so that what the manifest says of them has a meaning; ``program`` is how this very paictl is started by others.
    """

    runtime: RuntimePin
    models: Mapping[str, LockedModel] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    images: Mapping[str, str] = field(default_factory=dict)
    containers: bool = True
    program: tuple[str, ...] = ("paictl",)


def compile_blueprint(manifest: Manifest, resolved: Resolved) -> Blueprint:
    """The blueprint of the manifest's chosen target. The same input gives the same blueprint, byte for byte."""
    servers = models.servers(
        manifest, resolved.models, resolved.threads, images=resolved.images, containers=resolved.containers
    )
    engines = orchestration.servers(manifest, resolved.images)
    routes = models.routes(manifest, resolved.models)
    kept = stores.servers(manifest, resolved.images)
    door = orchestration.behind(gateway.gateway(manifest, routes, kept), engines)
    room = agent.agent(manifest, routes)
    private = vpn.server(manifest, resolved.images, containers=resolved.containers)
    parts = (*servers, *kept, *engines, door, room, *([private] if private else []))
    services = placed(manifest, scaled(manifest, parts))
    return Blueprint(
        agent=manifest.agent.metadata.name,
        owner=manifest.agent.metadata.owner,
        target=manifest.target,
        runtime=resolved.runtime,
        services=services,
        weights=models.weights(manifest, resolved.models),
        secrets=secret_files(manifest, services, resolved.fingerprints),
        unconfined=manifest.target_spec.unconfined,
        start_on_boot=manifest.target_spec.start_on_boot,
        hosts=tuple(
            Host(name, host.address, host.user or "", host.port, host.link, host.offline)
            for name, host in manifest.target_spec.hosts.items()
        ),
        system=host_system(manifest),
        namespace=manifest.target_spec.namespace or "",
        cluster=clusters.cluster(manifest),
        vpn=vpn.entrance(manifest),
        base=pinned_reference(manifest, resolved.images, "base"),
        backup=periodic.backup(manifest),
        updates=periodic.updates(manifest, resolved.program),
        origin=manifest.origins.find(("metadata", "name")),
    )
