"""How many of each service run: what the manifest says of it, put into the services that were compiled. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from paictl.blueprint.types import Scale, Service
from paictl.errors import Diagnostic, Unavailable
from paictl.manifest.load import Manifest
from paictl.manifest.placement import DEFAULT_CPU

__all__ = ["scaled"]


def scaled(manifest: Manifest, services: Iterable[Service]) -> tuple[Service, ...]:
    """The services with their scale; raises ``Unavailable`` for what keeps data in files that only one of it can write."""
    found = tuple(replace(service, scale=_scale(manifest, service.name)) for service in services)
    refused = [service for service in found if service.holds_data and service.scale.several]
    if refused:
        first = refused[0]
        raise Unavailable(
            f"{first.name} can't run more than once: it keeps data in files, and two would write the same ones"
            if len(refused) == 1
            else f"{len(refused)} services can't run more than once: they keep data in files",
            help="Take them out of `scale`, or keep the data elsewhere than in the embedded store.",
            diagnostics=[
                Diagnostic(
                    code="unavailable",
                    summary=f"{service.name} keeps data in files, which only one can write",
                    span=manifest.origins.find(("spec", "scale", service.name)),
                    help="`replicas` and `max` of it can only be 1.",
                )
                for service in refused
            ],
        )
    return found


def _scale(manifest: Manifest, name: str) -> Scale:
    said = manifest.agent.spec.scale.get(name)
    if said is None:
        return Scale()
    most = max(said.max or 0, said.replicas)
    return Scale(said.replicas, most, (said.cpu or DEFAULT_CPU) if most > said.replicas else 0)
