"""Hardened systemd units: each service as one, with its configuration and its room. Pure; called where ``render.roles`` is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from paictl.blueprint.types import Blueprint, Endpoint, SecretFile, Service
from paictl.render.containers import ROOT, digest, model_folders, models_of
from paictl.render.environment import environment
from paictl.render.layout import build, etc_of, host_of, lib_of, run_of, user_of
from paictl.render.wiring import by_sockets, configuration

__all__ = ["Unit", "placed", "target", "units"]

_DEFAULT_MEMORY = 1 << 30
# Mount points that every file system has to have.
_SYSTEM_PLACES = ("dev", "etc", "opt", "proc", "run", "sys", "tmp", "usr", "var/tmp")


@dataclass(frozen=True, slots=True)
class Unit:
    """One service as a unit of one host: texts of files that the role ``runtime`` puts into place.

    ``name`` ends with ``.service``. ``configs`` are by their absolute paths on the host; ``tmpfiles`` is the text of the file of
    the same stem in /etc/tmpfiles.d. ``check``: where it is asked how it is, as root of the host: ``socket`` or ``address``, and ``path``.
    """

    service: Service
    host: str
    name: str
    text: str
    configs: Mapping[str, str]
    tmpfiles: str
    check: Mapping[str, str] | None

    @property
    def stem(self) -> str:
        """Its name without the ending."""
        return self.name.removesuffix(".service")

    @property
    def variables(self) -> Mapping[str, object]:
        """The unit in the words of the role: an element of ``runtime_services``."""
        return {
            "name": self.service.name,
            "configs": [placed(path) for path in self.configs],
            "secrets": list(self.service.secrets),
        }


@dataclass(frozen=True, slots=True)
class _Room:
    """What a unit's own template speaks of: ``directories`` lie in its root, the sources of what it sees are on the host."""

    service: Service
    name: str
    place: str
    directories: tuple[str, ...]
    read_only: Mapping[str, str]
    read_write: Mapping[str, str]
    after: tuple[str, ...]
    secrets: tuple[SecretFile, ...]

    @property
    def network(self) -> bool:
        """The gateway alone has one: whoever has a public endpoint or a declared way out."""
        return bool(self.service.egress) or any(one.public for one in self.service.endpoints)

    @property
    def open(self) -> bool:
        return any(one.open for one in self.service.endpoints)

    @property
    def memory(self) -> int:
        return self.service.limits.memory or _DEFAULT_MEMORY

    @property
    def configs(self) -> tuple[str, ...]:
        """The directories on the host that hold its configuration."""
        return tuple(source for source in self.read_only if source.startswith("/etc/"))

    @property
    def sockets(self) -> tuple[str, ...]:
        """Whose directories of sockets it sees: its own first, where it listens for other services."""
        own = [self.service.name] if any(not one.public for one in self.service.endpoints) else []
        return tuple(dict.fromkeys((*own, *self.service.neighbours)))


def units(blueprint: Blueprint) -> tuple[Unit, ...]:
    """Every service, in the order in which they start."""
    return tuple(_unit(blueprint, service) for service in blueprint.services)


def placed(config: str) -> str:
    """The absolute path of a configuration, relative to the folder of all of the agent's."""
    _, etc, owner, _agent, folder, path = config.split("/", 5)
    if (etc, owner, folder) != ("etc", "paictl", "config"):
        raise ValueError(config)
    return path


def target(blueprint: Blueprint) -> str:
    """The text of the unit that all services of the agent on one host belong to."""
    return environment().get_template("ansible/target.j2").render(_context(blueprint))


def _unit(blueprint: Blueprint, service: Service) -> Unit:
    room = _room(blueprint, service)
    path = f"{etc_of(blueprint)}/{service.config.path}"
    configs = {path: configuration(service, by_sockets(blueprint))}
    context = _context(blueprint) | {"unit": room}

    def rendered(template: str, made_of: str = "") -> str:
        return environment().get_template(f"ansible/{template}.j2").render(context | {"made_of": made_of})

    return Unit(
        service=service,
        host=host_of(blueprint, service),
        name=room.name,
        text=rendered("unit.service", digest(json.dumps([rendered("unit.service"), configs], sort_keys=True))),
        configs=configs,
        tmpfiles=rendered("tmpfiles.conf"),
        check=_check(blueprint, service),
    )


def _room(blueprint: Blueprint, service: Service) -> _Room:
    etc, lib, run = etc_of(blueprint), lib_of(blueprint), run_of(blueprint)
    folder = str(PurePosixPath(service.config.path).parent)
    own = any(not one.public for one in service.endpoints)
    read_only = {f"{etc}/{folder}": folder}
    read_only |= {f"{lib}/{one.path}": one.path for one in models_of(blueprint, service)}
    read_write = {f"{lib}/{volume.path}": volume.path for volume in service.volumes}
    read_write |= {f"{run}/{service.name}": f"run/{service.name}"} if own else {}
    read_only |= {f"{run}/{other}": f"run/{other}" for other in service.neighbours}
    places = [*_SYSTEM_PLACES, *(f"{ROOT[1:]}/{place}" for place in (read_only | read_write).values())]
    return _Room(
        service=service,
        name=_name(blueprint, service.name),
        place=f"{lib}/rooms/{service.name}",
        directories=tuple(sorted(set(_with_parents(places)))),
        read_only=read_only,
        read_write=read_write,
        after=tuple(_name(blueprint, other) for other in service.needs),
        secrets=blueprint.secrets_of(service),
    )


def _check(blueprint: Blueprint, service: Service) -> Mapping[str, str] | None:
    """One that listens on nothing is known by its witness, whom root may ask."""
    health = service.health
    asked = f"{service.name}/{health.endpoint}" if health.endpoint else health.witness
    if not asked:
        return None
    name, _, word = asked.partition("/")
    endpoint: Endpoint = blueprint.service(name).endpoint(word)
    if endpoint.public:
        return {"address": endpoint.url.removeprefix("http://"), "path": health.path}
    return {"socket": f"{run_of(blueprint)}/{name}/{word}.sock", "path": health.path}


def _context(blueprint: Blueprint) -> dict[str, object]:
    return {
        "blueprint": blueprint,
        "root": ROOT,
        "target": f"paictl-{blueprint.agent}.target",
        "user": user_of(blueprint.agent),
        "code": f"/opt/paictl/runtime/{build(blueprint)}",
        "etc": etc_of(blueprint),
        "lib": lib_of(blueprint),
        "run": run_of(blueprint),
        "folders": model_folders(blueprint),
    }


def _with_parents(paths: list[str]) -> Iterator[str]:
    """Every directory on the way, the root itself (empty) first."""
    for path in paths:
        yield path
        yield from ("" if str(parent) == "." else str(parent) for parent in PurePosixPath(path).parents)


def _name(blueprint: Blueprint, service: str) -> str:
    return f"paictl-{blueprint.agent}-{service}.service"
