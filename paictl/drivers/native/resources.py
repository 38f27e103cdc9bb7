"""Turns a blueprint into this machine's resources: what each needs, what it depends on, what restarts it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from paictl.blueprint.types import Blueprint, Service
from paictl.drivers.native.directories import HOME
from paictl.drivers.native.layout import Layout
from paictl.drivers.native.records import DRIVER
from paictl.drivers.native.services import digest
from paictl.engine.model import Address, DataEffect, Probe, Resource
from paictl.render import native
from paictl.render.wiring import by_sockets

__all__ = ["resources"]

_SUPERVISOR_PROBE = Probe(timeout_seconds=30.0, stable_seconds=0.0)


def resources(blueprint: Blueprint, layout: Layout) -> list[Resource]:
    """Everything that has to stand, dependencies first."""
    return list(_Graph(blueprint, layout).all())


class _Graph:
    def __init__(self, blueprint: Blueprint, layout: Layout) -> None:
        self.blueprint = blueprint
        self.paths = layout.paths(blueprint.runtime.digest)
        self.home = self.address("directory", HOME)
        self.keys = self.address("directory", "keys")
        self.venv = self.address("venv", "runtime")
        self.supervisor = self.address("supervisor", "main")
        self.origin = blueprint.origin

    def address(self, kind: str, name: str) -> Address:
        return Address(self.blueprint.target, DRIVER, kind, name)

    def all(self) -> Iterable[Resource]:
        yield Resource(self.home, self._spec({"mode": "0700"}), origin=self.origin)
        keys = self._spec({"path": "keys", "mode": "0700"})
        yield Resource(self.keys, keys, (self.home,), holds_data=True, origin=self.origin)
        yield Resource(
            self.venv,
            self._spec({"digest": self.blueprint.runtime.digest}),
            (self.home,),
            replace_on=frozenset({"digest"}),
            create_first=True,
            origin=self.origin,
        )
        yield from self._volumes()
        yield from self._weights()
        yield from self._secrets()
        yield self._supervisor()
        for service in self.blueprint.services:
            yield self._config(service)
            yield self._service(service)
        if self.blueprint.start_on_boot:
            unit = self._spec({"content": native.boot_unit(self.blueprint, self.paths), "enabled": True})
            yield Resource(self.address("unit", "boot"), unit, (self.supervisor,), origin=self.origin)

    def _volumes(self) -> Iterable[Resource]:
        volumes = {volume.name: volume for service in self.blueprint.services for volume in service.volumes}
        for volume in volumes.values():
            yield Resource(
                self.address("volume", volume.name),
                self._spec({"path": volume.path, "mode": "0700"}),
                (self.home,),
                holds_data=volume.holds_data,
                origin=volume.origin or self.origin,
            )

    def _weights(self) -> Iterable[Resource]:
        for model in self.blueprint.weights:
            spec = {"path": model.path, "sha256": model.sha256, "size": model.size, "source": model.source}
            yield Resource(
                self.address("weights", model.name),
                self._spec(spec),
                (self.home,),
                effect=DataEffect(download_bytes=0 if model.here else model.size),
                origin=model.origin or self.origin,
            )

    def _secrets(self) -> Iterable[Resource]:
        for secret in self.blueprint.secrets:
            spec = {"path": secret.path, "generated": secret.generated, "fingerprint": secret.fingerprint}
            yield Resource(
                self.address("secret", secret.name),
                self._spec(spec),
                (self.home, self.keys) if secret.generated else (self.home,),
                origin=secret.origin or self.origin,
            )

    def _supervisor(self) -> Resource:
        config, identity = native.supervisor_config(self.blueprint, self.paths)
        return Resource(
            self.supervisor,
            self._spec({"config": config, "identity": identity, "runtime": self.blueprint.runtime.digest}),
            # The secrets, too: after a restart of the machine it starts at once whatever it finds set up.
            (self.home, self.venv, *(self.address("secret", secret.name) for secret in self.blueprint.secrets)),
            probe=_SUPERVISOR_PROBE,
            downtime=True,
            origin=self.origin,
        )

    def _config(self, service: Service) -> Resource:
        spec = {"path": service.config.path, "content": native.config(self.blueprint, service)}
        return Resource(
            self.address("file", service.config.path),
            self._spec(spec),
            (self.home,),
            origin=service.origin or self.origin,
        )

    def _service(self, service: Service) -> Resource:
        secrets = {one.name: one.fingerprint for one in self.blueprint.secrets}
        weights = {one.name: one.sha256 for one in self.blueprint.weights}
        spec: dict[str, object] = {
            "program": native.service_config(self.blueprint, service, self.paths),
            "room": native.room(self.blueprint, service),
            "started_with": {
                "config": digest(native.config(self.blueprint, service)),
                "runtime": self.blueprint.runtime.digest,
                "secrets": {name: secrets[name] for name in service.secrets if secrets[name]},
                "weights": {name: weights[name] for name in service.weights},
            },
            "health": self._health(service),
            "stop_seconds": service.stop_seconds,
            "url": self._url(service),
        }
        return Resource(
            self.address("service", service.name),
            self._spec(spec),
            (
                self.home,
                self.venv,
                self.supervisor,
                self.address("file", service.config.path),
                *(self.address("volume", volume.name) for volume in service.volumes),
                *(self.address("weights", name) for name in service.weights),
                *(self.address("secret", name) for name in service.secrets),
                *(self.address("service", name) for name in service.needs),
            ),
            probe=Probe(service.health.timeout_seconds, service.health.stable_seconds),
            downtime=True,
            origin=service.origin or self.origin,
        )

    def _health(self, service: Service) -> dict[str, object]:
        check = service.health
        asked = f"{service.name}/{check.endpoint}" if check.endpoint else check.witness
        address = by_sockets(self.blueprint)(*asked.split("/", 1)) if asked else ""
        witness = bool(check.witness) and not check.endpoint
        return {
            "address": address,
            "path": check.path,
            "stable_seconds": check.stable_seconds,
            **({"witness": True} if witness else {}),
        }

    def _url(self, service: Service) -> str:
        for endpoint in service.endpoints:
            if endpoint.public:
                return endpoint.url
        return ""

    def _spec(self, content: Mapping[str, object]) -> dict[str, object]:
        """Through JSON once, so that it is compared with what is read back in the same shapes.

        The agent's name stands in each, since a step is carried out by what it says alone.
        """
        pure: dict[str, object] = json.loads(json.dumps({"agent": self.blueprint.agent, **content}))
        return pure
