"""The docker driver's plain files: a compose.yaml that runs as it stands, with all that it names. Pure; called by `paictl render`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from paictl.blueprint.types import Blueprint, SecretFile, Service
from paictl.render.containers import (
    ROOT,
    UID,
    digest,
    image,
    image_context,
    listing,
    model_folders,
    models_of,
)
from paictl.render.environment import environment
from paictl.render.wiring import by_names, configuration

__all__ = ["files"]

# What a service may use when the blueprint sets no bound: agent and gateway together are promised at most 250 MB idle.
_DEFAULT_MEMORY = "1g"
_SECRET_NAMES_STAY_OUT = "secrets/\n.env\n"


@dataclass(frozen=True, slots=True)
class _Container:
    """One service in Compose's words."""

    service: Service
    config_digest: str
    health: str
    waits_for: Mapping[str, str]
    networks: tuple[str, ...]
    ports: tuple[str, ...]
    secrets: tuple[SecretFile, ...]
    mounts: tuple[Mapping[str, object], ...]


@dataclass(frozen=True, slots=True)
class _Network:
    """``internal``: no way out at all. Otherwise ``leaves`` says whether its members reach the outside."""

    name: str
    purpose: str
    internal: bool = True
    leaves: bool = False


@dataclass(frozen=True, slots=True)
class _Volume:
    name: str
    holds_data: bool


def files(blueprint: Blueprint) -> Mapping[str, str]:
    """Path -> text of everything that `docker compose up --build` needs but the secrets' values."""
    folders = model_folders(blueprint)
    door, public = blueprint.public
    context = {
        "blueprint": blueprint,
        "root": ROOT,
        "uid": UID,
        "image": image(blueprint),
        "folders": folders,
        "fetchable": any(folder.fetchable for folder in folders),
        "containers": [_container(blueprint, service) for service in blueprint.services],
        "networks": list(_networks(blueprint)),
        "volumes": list(_volumes(blueprint)),
        "data_volumes": [volume.name for volume in _volumes(blueprint) if volume.holds_data],
        "default_memory": _DEFAULT_MEMORY,
        "address": public.authority,
        "egress": door.egress,
    }
    templates = environment()
    found = {
        "compose.yaml": templates.get_template("docker/compose.yaml.j2").render(context),
        "README.md": templates.get_template("docker/README.md.j2").render(context),
        ".gitignore": _SECRET_NAMES_STAY_OUT,
    }
    if blueprint.secrets:
        found[".env.example"] = templates.get_template("docker/env.j2").render(context)
    if folders:
        found["weights.json"] = listing(blueprint.weights)
    found |= {service.config.path: _configuration(blueprint, service) for service in blueprint.services}
    return found | {f"image/{path}": text for path, text in image_context(blueprint).items()}


def _container(blueprint: Blueprint, service: Service) -> _Container:
    asked = service.endpoint(service.health.endpoint) if service.health.endpoint else None
    return _Container(
        service=service,
        config_digest=digest(_configuration(blueprint, service)),
        health=f"http://127.0.0.1:{asked.port}{service.health.path}" if asked else "",
        waits_for=_waits_for(blueprint, service),
        networks=tuple(_memberships(blueprint, service)),
        ports=tuple(f"{one.authority}:{one.port}" for one in service.endpoints if one.public),
        secrets=blueprint.secrets_of(service),
        mounts=tuple(_mounts(blueprint, service)),
    )


def _waits_for(blueprint: Blueprint, service: Service) -> Mapping[str, str]:
    found = {"weights": "service_completed_successfully"} if service.weights else {}
    for name in service.needs:
        found[name] = "service_healthy" if blueprint.service(name).health.endpoint else "service_started"
    return found


def _memberships(blueprint: Blueprint, service: Service) -> Iterator[str]:
    for name in sorted({*service.neighbours} | ({service.name} & {*_reached(blueprint)})):
        yield f"to-{name}"
    if service.egress or any(one.public for one in service.endpoints):
        yield "door"


def _reached(blueprint: Blueprint) -> list[str]:
    return sorted({name for service in blueprint.services for name in service.neighbours})


def _networks(blueprint: Blueprint) -> Iterator[_Network]:
    for name in _reached(blueprint):
        yield _Network(f"to-{name}", f"Those who may reach {name}, and {name}; nothing else is on it.")
    egress = sorted({host for service in blueprint.services for host in service.egress})
    purpose = (
        f"The published port, and the way to {', '.join(egress)}." if egress else "The published port; no way out."
    )
    yield _Network("door", purpose, internal=False, leaves=bool(egress))
    if any(folder.fetchable for folder in model_folders(blueprint)):
        yield _Network("outside", "Where model files are fetched from.", internal=False, leaves=True)


def _volumes(blueprint: Blueprint) -> Iterator[_Volume]:
    for service in blueprint.services:
        for volume in service.volumes:
            yield _Volume(volume.name, volume.holds_data)
    for folder in model_folders(blueprint):
        yield _Volume(folder.name, holds_data=False)


def _mounts(blueprint: Blueprint, service: Service) -> Iterator[Mapping[str, object]]:
    for volume in service.volumes:
        yield {"type": "volume", "source": volume.name, "target": f"{ROOT}/{volume.path}"}
    for folder in models_of(blueprint, service):
        yield {"type": "volume", "source": folder.name, "target": f"{ROOT}/{folder.path}", "read_only": True}


def _configuration(blueprint: Blueprint, service: Service) -> str:
    return configuration(service, by_names(blueprint, service))
