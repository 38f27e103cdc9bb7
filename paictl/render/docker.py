"""The docker driver's plain files: a compose.yaml that runs as it stands, with all that it names. Pure.

Called by `paictl render`, and by the docker driver, which makes what the compose.yaml says. In it ``$$`` stands for ``$``, as
Compose wants it; nothing but the paths of secrets has a variable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from paictl.blueprint import vpn_image
from paictl.blueprint.types import Blueprint, SecretFile, Service, ServiceRole
from paictl.render.containers import (
    ROOT,
    UID,
    digest,
    image,
    image_files,
    listing,
    model_folders,
    models_of,
    volumes_of_others,
)
from paictl.render.environment import environment, quoted
from paictl.render.wiring import by_names, configuration

if TYPE_CHECKING:
    import jinja2

__all__ = ["files", "project"]

# What a service may use when the blueprint sets no bound: agent and gateway together are promised at most 250 MB idle.
_DEFAULT_MEMORY = "1g"
_SECRET_NAMES_STAY_OUT = "secrets/\n.env\n"
# Nothing that is written there can be run.
_SCRATCH = "mode=1777,size=64m,noexec,nosuid,nodev"
_TEMPORARY = "/tmp"  # noqa: S108 - a container's own
_HEALTH = ("CMD", "/opt/paictl/venv/bin/python", "-I", "/opt/paictl/health.py")
# Who goes first where all want to compute: the door answers people while a model thinks. Docker's own default is 1024.
_SHARES: Mapping[ServiceRole, int] = {
    "gateway": 2048,
    "vpn": 2048,
    "store": 1536,
    "agent": 768,
    "orchestrator": 768,
    "model": 512,
}


@dataclass(frozen=True, slots=True)
class _Container:
    """One service in Compose's words."""

    service: Service
    config_digest: str
    variables: Mapping[str, str]
    healthy: tuple[str, ...]
    scratch: tuple[str, ...]
    shares: int
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
    labels: Mapping[str, str]


def files(blueprint: Blueprint) -> Mapping[str, str]:
    """Path -> text of everything that `docker compose up --build` needs but the secrets' values."""
    templates, context = _templates(), _context(blueprint)
    found = {
        **project(blueprint),
        "README.md": templates.get_template("docker/README.md.j2").render(context),
        ".gitignore": _SECRET_NAMES_STAY_OUT,
    }
    if blueprint.secrets:
        found[".env.example"] = templates.get_template("docker/env.j2").render(context)
    if model_folders(blueprint):
        found["weights.json"] = listing(blueprint.weights)
    if any(service.role == "vpn" for service in blueprint.services):
        found |= {f"vpn/{path}": text for path, text in vpn_image.sources().items()}
    return found | {f"image/{path}": text for path, text in image_files(blueprint).items()}


def project(blueprint: Blueprint) -> dict[str, str]:
    """The compose.yaml and the services' configurations, which are all that says what is to stand."""
    written = _templates().get_template("docker/compose.yaml.j2").render(_context(blueprint))
    configured = [service for service in blueprint.services if service.config.path]
    return {"compose.yaml": written} | {one.config.path: _configuration(blueprint, one) for one in configured}


def _templates() -> jinja2.Environment:
    made = environment()
    made.filters["literal"] = _literal
    return made


def _context(blueprint: Blueprint) -> Mapping[str, object]:
    folders = model_folders(blueprint)
    door, public = blueprint.public
    volumes = list(_volumes(blueprint))
    configs = {"weights": "weights.json"} if folders else {}
    return {
        "blueprint": blueprint,
        "root": ROOT,
        "uid": UID,
        "image": image(blueprint),
        "builder": _builder(blueprint),
        "folders": folders,
        "owned": volumes_of_others(blueprint),
        "fetchable": any(folder.fetchable for folder in folders),
        "containers": [_container(blueprint, service) for service in blueprint.services],
        "networks": list(_networks(blueprint)),
        "volumes": volumes,
        "data_volumes": [volume.name for volume in volumes if volume.holds_data],
        "configs": configs | {one.name: one.config.path for one in blueprint.services if one.config.path},
        "default_memory": _DEFAULT_MEMORY,
        "scratch": _owned_by(UID, _TEMPORARY),
        "address": public.authority,
        "egress": door.egress,
        "vpn_image": vpn_image.image(),
        "labelled": lambda kind, name: _labels(blueprint, kind, name),
    }


def _builder(blueprint: Blueprint) -> str:
    """The first that runs in the runtime's image."""
    if model_folders(blueprint):
        return "weights"
    if volumes_of_others(blueprint):
        return "folders"
    return next(service.name for service in blueprint.services if service.upstream is None)


def _literal(value: object) -> str:
    """A value as Compose reads it back: JSON, and no variable in it."""
    return quoted(value).replace("$", "$$")


def _labels(blueprint: Blueprint, kind: str, name: str) -> dict[str, str]:
    """By which everything of one agent is known on an engine, whoever made it."""
    return {
        "paictl.agent": blueprint.agent,
        "paictl.target": blueprint.target,
        "paictl.kind": kind,
        "paictl.name": name,
    }


def _container(blueprint: Blueprint, service: Service) -> _Container:
    variables, healthy = _health(blueprint, service)
    return _Container(
        service=service,
        config_digest=digest(_configuration(blueprint, service)),
        variables=variables,
        healthy=healthy,
        scratch=_scratch(service),
        shares=_SHARES[service.role],
        waits_for=_waits_for(blueprint, service),
        networks=tuple(_memberships(blueprint, service)),
        ports=tuple(
            f"{one.authority}:{one.port}{'/udp' if one.udp else ''}" for one in service.endpoints if one.published
        ),
        secrets=blueprint.secrets_of(service),
        mounts=tuple(_mounts(blueprint, service)),
    )


def _scratch(service: Service) -> tuple[str, ...]:
    upstream = service.upstream
    paths, uid = (upstream.scratch, upstream.uid) if upstream else ((), UID)
    return tuple(_owned_by(uid, path) for path in dict.fromkeys((_TEMPORARY, *paths)))


def _owned_by(uid: int, path: str) -> str:
    """A place on tmpfs, with an owner.

    For runc before 1.1.8 lets the mode of a directory that exists win over what is asked for, and a directory that the image
    lacks exists, with 0755, from a container's second start on.
    """
    return f"{path}:uid={uid},gid={uid},{_SCRATCH}"


def _health(blueprint: Blueprint, service: Service) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """The variables of a container, and the command that says whether it is well.

    One that listens on nothing asks its witness, whom it reaches: being alive is not yet being of use.
    """
    if service.upstream:
        return service.upstream.environment, ("CMD", *service.upstream.healthy) if service.upstream.healthy else ()
    host, asked = "127.0.0.1", service.health.endpoint or ""
    if service.health.witness and not asked:
        host, _, asked = service.health.witness.partition("/")
    if not asked:
        return {}, _HEALTH
    listener = service if host == "127.0.0.1" else blueprint.service(host)
    return {"PAICTL_HEALTH": f"http://{host}:{listener.endpoint(asked).port}{service.health.path}"}, _HEALTH


def _waits_for(blueprint: Blueprint, service: Service) -> Mapping[str, str]:
    jobs = {"weights": bool(service.weights), "folders": bool(_owned(blueprint, service))}
    found = {name: "service_completed_successfully" for name, needed in jobs.items() if needed}
    for name in service.needs:
        upstream = blueprint.service(name).upstream
        found[name] = "service_started" if upstream and not upstream.healthy else "service_healthy"
    return found


def _memberships(blueprint: Blueprint, service: Service) -> Iterator[str]:
    # The VPN meets the gateway at the door, where both have a port: on a network of the rooms it would be one more neighbour.
    inside = () if service.role == "vpn" else service.neighbours
    for name in sorted({*inside} | ({service.name} & {*_reached(blueprint)})):
        yield f"to-{name}"
    if service.egress or any(one.published for one in service.endpoints):
        yield "door"


def _reached(blueprint: Blueprint) -> list[str]:
    return sorted({name for service in blueprint.services if service.role != "vpn" for name in service.neighbours})


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
            yield _volume(blueprint, "volume", volume.name, holds_data=volume.holds_data)
    for folder in model_folders(blueprint):
        yield _volume(blueprint, "weights", folder.name, holds_data=False)


def _volume(blueprint: Blueprint, kind: str, name: str, *, holds_data: bool) -> _Volume:
    labels = _labels(blueprint, kind, name) | {"paictl.holds-data": str(holds_data).lower()}
    return _Volume(name, holds_data, labels)


def _mounts(blueprint: Blueprint, service: Service) -> Iterator[Mapping[str, object]]:
    for volume in service.volumes:
        # An absolute path stays as it is: software of others has its own places.
        mount = {"type": "volume", "source": volume.name, "target": str(PurePosixPath(ROOT, volume.path))}
        # Whoever owns it by then, the image would make it its own again as long as it is empty.
        yield mount | ({"volume": {"nocopy": True}} if volume.name in _owned(blueprint, service) else {})
    for folder in models_of(blueprint, service):
        yield {"type": "volume", "source": folder.name, "target": f"{ROOT}/{folder.path}", "read_only": True}


def _owned(blueprint: Blueprint, service: Service) -> set[str]:
    return {volume.name for volume in service.volumes} & {*volumes_of_others(blueprint)}


def _configuration(blueprint: Blueprint, service: Service) -> str:
    return configuration(service, by_names(blueprint, service))
