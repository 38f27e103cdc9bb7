"""Which host of a target runs what: models where the manifest says, everything else where the agent lives. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from paictl.blueprint.types import Service
from paictl.manifest.load import Manifest
from paictl.manifest.machines import home

__all__ = ["placed"]


def placed(manifest: Manifest, services: Iterable[Service]) -> tuple[Service, ...]:
    """The services, each with its host; without one where the driver is told no hosts."""
    if manifest.target_spec.driver != "ansible":
        return tuple(services)
    hosts = manifest.target_spec.hosts
    where = {f"model-{model}": name for name, host in hosts.items() for model in host.runs}
    rest = home({name: bool(host.runs) for name, host in hosts.items()})
    return tuple(replace(service, host=where.get(service.name, rest)) for service in services)
