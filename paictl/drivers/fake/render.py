"""A blueprint as resources of the fake driver: a network, then volumes, secrets, weights, files and services. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict

from paictl.blueprint.types import Blueprint, Service, wire
from paictl.engine.model import Address, DataEffect, Probe, Resource

__all__ = ["render", "wiring"]


def render(blueprint: Blueprint) -> tuple[Resource, ...]:
    """Every resource, in no particular order."""
    return tuple(_Renderer(blueprint).resources())


def wiring(service: str, endpoint: str) -> str:
    """Where an endpoint is in a fake world."""
    return f"fake:{service}/{endpoint}"


class _Renderer:
    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint = blueprint
        self._secrets = {secret.name for secret in blueprint.secrets}
        self._weights = {weights.name for weights in blueprint.weights}

    def resources(self) -> Iterator[Resource]:
        blueprint = self._blueprint
        yield Resource(self._at("network", blueprint.agent), {"internal": True}, origin=blueprint.origin)
        for secret in blueprint.secrets:
            spec = {"path": secret.path, "generated": secret.generated, "fingerprint": secret.fingerprint}
            yield Resource(self._at("secret", secret.name), spec, holds_data=secret.generated, origin=secret.origin)
        for weights in blueprint.weights:
            yield Resource(
                self._at("weights", weights.name),
                {"path": weights.path, "sha256": weights.sha256},
                replace_on=frozenset({"sha256"}),
                create_first=True,
                effect=DataEffect(download_bytes=0 if weights.here else weights.size),
                origin=weights.origin,
            )
        for service in blueprint.services:
            yield from self._service(service)

    def _service(self, service: Service) -> Iterator[Resource]:
        for volume in service.volumes:
            yield Resource(
                self._at("volume", volume.name),
                {"path": volume.path},
                replace_on=frozenset({"path"}),
                holds_data=volume.holds_data,
                origin=volume.origin,
            )
        content = wire(service.config.content, wiring)
        yield Resource(
            self._at("file", service.name), {"path": service.config.path, "content": content}, origin=service.origin
        )
        yield Resource(
            self._at("service", service.name),
            {
                "module": service.module,
                "config": hashlib.sha256(repr(content).encode()).hexdigest(),
                "endpoints": [asdict(endpoint) for endpoint in service.endpoints],
                "reaches": list(service.reaches),
                "egress": list(service.egress),
                "room": service.room,
                "limits": asdict(service.limits),
                "runtime": self._blueprint.runtime.digest,
            },
            depends_on=tuple(sorted(self._needs(service))),
            # Nothing in a fake world takes time, unless a fault says so.
            probe=Probe(timeout_seconds=service.health.timeout_seconds, stable_seconds=0.0),
            replace_on=frozenset({"module", "endpoints", "runtime"}),
            create_first=not service.holds_data,
            downtime=True,
            effect=DataEffect(egress=service.egress) if service.egress else None,
            origin=service.origin,
        )

    def _needs(self, service: Service) -> Iterator[Address]:
        yield self._at("network", self._blueprint.agent)
        yield self._at("file", service.name)
        yield from (self._at("volume", volume.name) for volume in service.volumes)
        yield from (self._at("secret", name) for name in service.secrets if name in self._secrets)
        yield from (self._at("weights", name) for name in service.weights if name in self._weights)
        yield from (self._at("service", name) for name in service.needs)

    def _at(self, kind: str, name: str) -> Address:
        return Address(self._blueprint.target, "fake", kind, name)
