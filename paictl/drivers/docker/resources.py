"""Turns a blueprint into an engine's resources, by way of the compose.yaml that `paictl render` writes: one source for both. Pure.

Beside what stands in that file there is one container more, the keeper: it holds the secrets' tmpfs volumes, which Compose
takes from files of its machine instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from paictl.blueprint.types import Blueprint, SecretFile, Service, Weights
from paictl.drivers.docker import compose
from paictl.drivers.docker.containers import Spec, from_compose
from paictl.drivers.docker.inspected import READABLE
from paictl.drivers.docker.naming import DRIVER, HOLDS_DATA, KEEPER, image_repository
from paictl.drivers.docker.vaults import vault_options, vault_volume
from paictl.engine.model import Address, DataEffect, Probe, Resource
from paictl.render import docker
from paictl.render.containers import ROOT, digest, image_directories, model_folders, volumes_of_others

__all__ = ["KEYS", "resources"]

KEYS = "keys"
"""The data volume with the originals of the generated secrets."""

_KEEPER_PROBE = Probe(timeout_seconds=30.0, stable_seconds=0.0)
_KEEPER_MEMORY = 64 << 20
_KEEPER_PIDS = 32


def resources(blueprint: Blueprint) -> list[Resource]:
    """Everything that has to stand, dependencies first."""
    return list(_Graph(blueprint).all())


class _Graph:
    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self.files = docker.project(blueprint)
        self.file = compose.parse(self.files["compose.yaml"])
        self.runtime = self.address("image", "runtime")

    def address(self, kind: str, name: str) -> Address:
        return Address(self.blueprint.target, DRIVER, kind, name)

    def all(self) -> Iterable[Resource]:
        yield from self._images()
        yield from self._networks()
        yield from self._volumes()
        yield from self._weights()
        yield self._keeper()
        yield from self._secrets()
        for service in self.blueprint.services:
            yield self._service(service)

    def _images(self) -> Iterable[Resource]:
        pin = self.blueprint.runtime
        built = {
            "tag": self.tag,
            "base": self.blueprint.base,
            "directories": image_directories(self.blueprint),
            "volumes": volumes_of_others(self.blueprint),
            "runtime": pin.digest,
            "version": pin.version,
        }
        yield self._resource("image", "runtime", built, replace_on=frozenset({"tag", "base"}), create_first=True)
        for service in self.blueprint.services:
            upstream = service.upstream
            if upstream is not None and upstream.image not in self._seen:
                self._seen.add(upstream.image)
                yield self._resource(
                    "image",
                    upstream.image,
                    {"reference": upstream.reference, "tag": self._alias(service)},
                    replace_on=frozenset({"reference", "tag"}),
                    create_first=True,
                )

    @cached_property
    def _seen(self) -> set[str]:
        return set()

    @cached_property
    def tag(self) -> str:
        """The name of the runtime's image."""
        return next(str(one["image"]) for one in self.file["services"].values() if "build" in one)

    def _alias(self, service: Service) -> str:
        """Our own name for an image of others: by it we know that it was brought for this agent, and take it away again."""
        if service.upstream is None:
            return self.tag
        name, reference = service.upstream.image, service.upstream.reference
        return f"{image_repository(self.blueprint.agent, name)}:{digest(reference)}"

    def _networks(self) -> Iterable[Resource]:
        written = self.file["services"]
        used = {name for service in self.blueprint.services for name in written[service.name].get("networks", ())}
        for name, network in self.file["networks"].items():
            if name not in used:
                continue
            spec = {"internal": bool(network.get("internal")), "options": dict(network.get("driver_opts", {}))}
            yield self._resource("network", name, spec, replace_on=frozenset({"internal", "ipv6", "options"}))

    def _volumes(self) -> Iterable[Resource]:
        origins = {volume.name: volume.origin for service in self.blueprint.services for volume in service.volumes}
        for name, volume in self.file["volumes"].items():
            data = volume["labels"].get(HOLDS_DATA) == "true"
            origin = origins.get(name)
            yield self._volume(name, {}, holds_data=data, origin=origin)
        if self.blueprint.secrets:
            yield self._volume(KEYS, {}, holds_data=True)
        for service in self._with_secrets():
            yield self._volume(self._vault(service), vault_options(self._user(service)))

    def _volume(self, name: str, options: Mapping[str, str], **more: Any) -> Resource:
        return self._resource("volume", name, {"options": options}, replace_on=frozenset({"options"}), **more)

    def _with_secrets(self) -> list[Service]:
        return [service for service in self.blueprint.services if service.secrets]

    def _user(self, service: Service) -> str:
        return str(self.file["services"][service.name]["user"])

    def _vault(self, service: Service) -> str:
        return vault_volume(service.name, self._user(service))

    @cached_property
    def _files(self) -> Mapping[str, tuple[Weights, Spec]]:
        """Every model file with its spec; what a service was started with tells the same, so that it can be seen again."""
        return {
            model.name: (
                model,
                {
                    "agent": self.blueprint.agent,
                    "volume": folder.name,
                    "path": PurePosixPath(model.path).name,
                    "sha256": model.sha256,
                    "size": model.size,
                    "source": model.source,
                },
            )
            for folder in model_folders(self.blueprint)
            for model in folder.files
        }

    def _weights(self) -> Iterable[Resource]:
        for name, (model, spec) in self._files.items():
            yield self._resource(
                "weights",
                name,
                spec,
                needs=(self.address("volume", spec["volume"]), self.runtime),
                effect=DataEffect(download_bytes=0 if model.here else model.size),
                origin=model.origin,
            )

    def _keeper(self) -> Resource:
        generated = sorted(secret.name for secret in self.blueprint.secrets if secret.generated)
        services = {service.name: sorted(service.secrets) for service in self._with_secrets()}
        content = json.dumps({"services": services, "generated": generated}, indent=2, sort_keys=True) + "\n"
        volumes: list[Spec] = [{"type": "volume", "source": KEYS, "target": f"{ROOT}/keys"}]
        vaults = {service.name: self._vault(service) for service in self._with_secrets()}
        volumes += [
            {"type": "volume", "source": vault, "target": f"{ROOT}/vault/{name}", "volume": {"nocopy": True}}
            for name, vault in vaults.items()
        ]
        python = "/opt/paictl/venv/bin/python"
        written = {
            **{key: value for key, value in self.file["x-hardened"].items() if key != "healthcheck"},
            "command": ["-m", "paictl.runtime.keeper", "hold"],
            "network_mode": "none",
            "mem_limit": _KEEPER_MEMORY,
            "memswap_limit": _KEEPER_MEMORY,
            "pids_limit": _KEEPER_PIDS,
            "stop_grace_period": "10s",
            "volumes": volumes,
            "healthcheck": {
                "test": ["CMD", python, "-m", "paictl.runtime.keeper", "status"],
                # All of it, since the image's own check would fill in what is left out.
                "interval": "30s",
                "timeout": "10s",
                "start_period": "30s",
                "retries": 3,
            },
        }
        spec = from_compose(KEEPER, written, {f"{ROOT}/config/keeper.json": content})
        spec["started_with"] = {"secrets": {one.name: self._secret(one) for one in self.blueprint.secrets}}
        needs = (
            self.runtime,
            self.address("volume", KEYS),
            *(self.address("volume", vault) for vault in vaults.values()),
        )
        return self._container(KEEPER, spec, needs, _KEEPER_PROBE, beside=True)

    def _secrets(self) -> Iterable[Resource]:
        for secret in self.blueprint.secrets:
            spec = {**self._secret(secret), "content": secret.fingerprint}
            yield self._resource(
                "secret", secret.name, spec, needs=(self.address("service", KEEPER),), origin=secret.origin
            )

    def _secret(self, secret: SecretFile) -> Spec:
        # The volumes too, since a new one is empty: the keeper has to be handed the value anew.
        vaults = {one.name: self._vault(one) for one in self._with_secrets() if secret.name in one.secrets}
        return {"agent": self.blueprint.agent, "generated": secret.generated, "vaults": vaults}

    def _service(self, service: Service) -> Resource:
        written: Mapping[str, Any] = self.file["services"][service.name]
        contents = {
            str(one["target"]): self.files[str(self.file["configs"][one["source"]]["file"]).removeprefix("./")]
            for one in written.get("configs", ())
        }
        spec = from_compose(service.name, written, contents)
        fingerprints = {one.name: one.fingerprint for one in self.blueprint.secrets if one.fingerprint}
        spec |= {
            "image": self._alias(service),
            "started_with": {
                "secrets": {name: fingerprints[name] for name in service.secrets if name in fingerprints},
                "weights": {name: self._files[name][1] for name in service.weights},
            },
            "url": next((one.url for one in service.endpoints if one.public), ""),
        }
        needs = (
            self.address("image", service.upstream.image) if service.upstream else self.runtime,
            *(self.address("network", name) for name in spec["networks"] if name in self.file["networks"]),
            *(self.address("volume", volume.name) for volume in service.volumes),
            *(self.address("weights", name) for name in service.weights),
            *(self.address("secret", name) for name in service.secrets),
            *(self.address("service", name) for name in service.needs),
        )
        probe = Probe(service.health.timeout_seconds, service.health.stable_seconds)
        beside = not service.holds_data and not any(one.published for one in service.endpoints)
        return self._container(service.name, spec, needs, probe, beside=beside, origin=service)

    def _container(
        self,
        name: str,
        spec: Spec,
        needs: tuple[Address, ...],
        probe: Probe,
        *,
        beside: bool,
        origin: Service | None = None,
    ) -> Resource:
        spec = {"alias": name, **spec}
        return self._resource(
            "service",
            name,
            spec,
            needs=needs,
            probe=probe,
            # A container is never changed, it is made anew; where nothing is written, the new one first.
            replace_on=READABLE | frozenset(spec) if beside else frozenset(),
            create_first=beside,
            downtime=not beside,
            origin=origin.origin if origin else None,
        )

    def _resource(
        self, kind: str, name: str, spec: Mapping[str, object], needs: tuple[Address, ...] = (), **more: Any
    ) -> Resource:
        """Its spec goes through JSON once, so that it is compared with what is read back in the same shapes."""
        pure: dict[str, object] = json.loads(json.dumps({"agent": self.blueprint.agent, **spec}))
        more["origin"] = more.get("origin") or self.blueprint.origin
        return Resource(self.address(kind, name), pure, needs, **more)
