"""Hardened systemd units: each service as one, with its configuration and its room, and the variables of the roles that install them.

Pure; called by `paictl render` (``render.ansible``) and by the ansible driver.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import PurePosixPath

from paictl.assets import asset
from paictl.blueprint.types import Blueprint, Endpoint, SecretFile, Service
from paictl.render.containers import ROOT, ModelFolder, digest, model_folders, models_of
from paictl.render.environment import environment
from paictl.render.neighbours import NEIGHBOURLY, neighbour_hosts, neighbour_vars, openings
from paictl.render.periodic import PERIODIC, periodic_hosts, periodic_vars
from paictl.render.source import runtime_source
from paictl.render.systems import base_vars
from paictl.render.wiring import by_sockets, configuration

__all__ = [
    "HERE",
    "ROLES",
    "Unit",
    "build",
    "code",
    "host_of",
    "hosts_of",
    "placed",
    "role_digest",
    "role_vars",
    "secret_hosts",
    "target",
    "units",
    "user_of",
]

HERE = "localhost"
"""The host of a target that names none: this machine."""

ROLES = ("base", "hardening", "runtime", *NEIGHBOURLY, *PERIODIC)
"""The roles of a playbook, in the order in which they run."""

_DEFAULT_MEMORY = 1 << 30
# useradd's own limit.
_LONGEST_USER = 32
_READY_SECONDS = 2
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


def host_of(blueprint: Blueprint, service: Service) -> str:
    """The name of the host that a service runs on."""
    return service.host or (blueprint.hosts[0].name if blueprint.hosts else HERE)


def hosts_of(blueprint: Blueprint, role: str) -> tuple[str, ...]:
    """The names of the hosts that a role is for."""
    every = tuple(one.name for one in blueprint.hosts) or (HERE,)
    if role in PERIODIC:
        return periodic_hosts(blueprint, role)
    if role in NEIGHBOURLY:
        return neighbour_hosts(blueprint, role, every)
    if role != "runtime":
        return every
    run = {host_of(blueprint, service) for service in blueprint.services}
    return tuple(name for name in every if name in run)


def secret_hosts(blueprint: Blueprint, name: str) -> tuple[str, ...]:
    """The names of the hosts that have a secret: where services read it, else the gateway's, for what leads there."""
    read = dict.fromkeys(host_of(blueprint, one) for one in blueprint.services if name in one.secrets)
    return tuple(read) or (host_of(blueprint, blueprint.public[0]),)


def placed(config: str) -> str:
    """The absolute path of a configuration, relative to the folder of all of the agent's."""
    _, etc, owner, _agent, folder, path = config.split("/", 5)
    if (etc, owner, folder) != ("etc", "paictl", "config"):
        raise ValueError(config)
    return path


def target(blueprint: Blueprint) -> str:
    """The text of the unit that all services of the agent on one host belong to."""
    return environment().get_template("ansible/target.j2").render(_context(blueprint))


def role_vars(blueprint: Blueprint, role: str, host: str) -> Mapping[str, object]:
    """What a role is told on a host, and nothing that it would be told anyway."""
    match role:
        case "base":
            offline = any(one.offline for one in blueprint.hosts if one.name == host)
            return {**base_vars(blueprint.system), **({"base_offline": True} if offline else {})}
        case "hardening":
            door, _ = blueprint.public
            open_ports = [one.port for one in door.endpoints if one.open] if host_of(blueprint, door) == host else []
            port = next((one.port for one in blueprint.hosts if one.name == host), 22)
            return {
                "hardening_agent": blueprint.agent,
                "hardening_ssh_port": port,
                "hardening_open_ports": open_ports,
                "hardening_open": openings(blueprint, host),
            }
        case "runtime":
            return _runtime_vars(blueprint, host)
        case _ if role in NEIGHBOURLY:
            return neighbour_vars(blueprint, role, host)
        case _ if role in PERIODIC:
            return periodic_vars(blueprint, role, host)
        case _:
            return {}


@cache
def role_digest(role: str) -> str:
    """Changes with every byte of the role."""
    folder = asset("roles", role)
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    told = [[path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()] for path in found]
    return digest(json.dumps(told))


def build(blueprint: Blueprint) -> str:
    """The name of the pinned runtime on a host; each has a directory of its own there, and stays what it is when paictl is newer."""
    return digest(blueprint.runtime.digest)


@cache
def code() -> dict[str, str]:
    """The runtime as the role copies it, by path below ``files/runtime``; what only containers need stays out."""
    left_out = {"connect.py", "health.py"}
    return {path: text for path, text in runtime_source().items() if path not in left_out}


def _runtime_vars(blueprint: Blueprint, host: str) -> Mapping[str, object]:
    door, public = blueprint.public
    mine = [one for one in units(blueprint) if one.host == host]
    secrets = [
        {"name": one.name, "generated": one.generated}
        for one in blueprint.secrets
        if host in secret_hosts(blueprint, one.name)
    ]
    volumes = [{"name": each.name, "path": each.path} for one in mine for each in one.service.volumes]
    folders: dict[str, ModelFolder] = {each.name: each for one in mine for each in models_of(blueprint, one.service)}
    patience = ceil(sum(one.service.health.timeout_seconds for one in mine) / _READY_SECONDS)
    return {
        "runtime_agent": blueprint.agent,
        "runtime_user": user_of(blueprint.agent),
        "runtime_build": build(blueprint),
        "runtime_secrets": secrets,
        "runtime_volumes": volumes,
        "runtime_weights": [f"files/weights/{name}.json" for name in folders],
        "runtime_services": [one.variables for one in mine],
        # What another host answers is not there before both are linked, which comes after.
        "runtime_ready_url": f"{public.url}/readyz" if host_of(blueprint, door) == host and not blueprint.links else "",
        "runtime_ready_retries": patience,
    }


def _unit(blueprint: Blueprint, service: Service) -> Unit:
    room = _room(blueprint, service)
    path = f"{_etc(blueprint)}/{service.config.path}"
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
    etc, lib, run = _etc(blueprint), _lib(blueprint), _run(blueprint)
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
    return {"socket": f"{_run(blueprint)}/{name}/{word}.sock", "path": health.path}


def _context(blueprint: Blueprint) -> dict[str, object]:
    return {
        "blueprint": blueprint,
        "root": ROOT,
        "target": f"paictl-{blueprint.agent}.target",
        "user": user_of(blueprint.agent),
        "code": f"/opt/paictl/runtime/{build(blueprint)}",
        "etc": _etc(blueprint),
        "lib": _lib(blueprint),
        "run": _run(blueprint),
        "folders": model_folders(blueprint),
    }


def _with_parents(paths: list[str]) -> Iterator[str]:
    """Every directory on the way, the root itself (empty) first."""
    for path in paths:
        yield path
        yield from ("" if str(parent) == "." else str(parent) for parent in PurePosixPath(path).parents)


def user_of(agent: str) -> str:
    """One system user an agent; a name that is too long is cut, and told apart by its digest."""
    name = f"paictl-{agent}"
    return name if len(name) <= _LONGEST_USER else f"{name[:19]}-{digest(agent)}"


def _name(blueprint: Blueprint, service: str) -> str:
    return f"paictl-{blueprint.agent}-{service}.service"


def _etc(blueprint: Blueprint) -> str:
    return f"/etc/paictl/{blueprint.agent}"


def _lib(blueprint: Blueprint) -> str:
    return f"/var/lib/paictl/{blueprint.agent}"


def _run(blueprint: Blueprint) -> str:
    return f"/run/paictl/{blueprint.agent}"
