"""How many of each service run: what the manifest says of it, put into the services that were compiled. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from paictl.blueprint.types import Scale, Service
from paictl.manifest.load import Manifest
from paictl.manifest.placement import DEFAULT_CPU

__all__ = ["scaled"]


def scaled(manifest: Manifest, services: Iterable[Service]) -> tuple[Service, ...]:
    """The services with their scale. What keeps data in files of its own was refused before, with the manifest's line."""
    return tuple(replace(service, scale=_scale(manifest, service.name)) for service in services)


def _scale(manifest: Manifest, name: str) -> Scale:
    said = manifest.agent.spec.scale.get(name)
    if said is None:
        return Scale()
    most = max(said.max or 0, said.replicas)
    return Scale(said.replicas, most, (said.cpu or DEFAULT_CPU) if most > said.replicas else 0)
