"""The ansible driver's plain files: inventory, playbook, roles and hardened systemd units. Pure; called by `paictl render`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import PurePosixPath

from paictl.assets import asset
from paictl.blueprint.types import Blueprint, SecretFile, Service
from paictl.render.containers import ROOT, digest, listing, model_folders, models_of
from paictl.render.environment import environment
from paictl.render.source import runtime_source
from paictl.render.wiring import by_sockets, configuration

__all__ = ["files"]

_ROLES = ("base", "hardening", "runtime")
_DEFAULT_MEMORY = 1 << 30
# useradd's own limit.
_LONGEST_USER = 32
_READY_SECONDS = 2
# Mount points that every file system has to have.
_SYSTEM_PLACES = ("dev", "etc", "opt", "proc", "run", "sys", "tmp", "usr", "var/tmp")


@dataclass(frozen=True, slots=True)
class _Unit:
    """One service in systemd's words; ``directories`` lie in its room, the sources of what it reads and writes on the host."""

    service: Service
    name: str
    config: str
    room: str
    directories: tuple[str, ...]
    read_only: Mapping[str, str]
    read_write: Mapping[str, str]
    after: tuple[str, ...]
    secrets: tuple[SecretFile, ...]
    listens: bool

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


def files(blueprint: Blueprint) -> Mapping[str, str]:
    """Path -> text of everything that `ansible-playbook playbook.yaml` needs but the declared secrets' values."""
    units = tuple(_unit(blueprint, service) for service in blueprint.services)
    stem = f"paictl-{blueprint.agent}"
    door, public = blueprint.public
    context = {
        "blueprint": blueprint,
        "root": ROOT,
        "units": units,
        "target": f"{stem}.target",
        "user": _user(blueprint.agent),
        "build": _build(),
        "code": f"/opt/paictl/runtime/{_build()}",
        "etc": f"/etc/paictl/{blueprint.agent}",
        "lib": _lib(blueprint),
        "folders": model_folders(blueprint),
        "open_ports": [one.port for one in door.endpoints if one.open],
        "ready": f"{public.url}/readyz",
        "retries": ceil(sum(service.health.timeout_seconds for service in blueprint.services) / _READY_SECONDS),
    }

    def rendered(template: str, **more: object) -> str:
        return environment().get_template(f"ansible/{template}.j2").render(context | more)

    found = {name: rendered(name) for name in ("ansible.cfg", "inventory.yaml", "playbook.yaml", "README.md")}
    found["group_vars/agent.yaml"] = rendered("group_vars.yaml")
    found[".gitignore"] = "secrets/\n"
    found[f"files/units/{stem}.target"] = rendered("target")
    found[f"files/tmpfiles/{stem}.conf"] = rendered("tmpfiles.conf")
    found |= {f"files/units/{unit.name}": rendered("unit.service", unit=unit) for unit in units}
    found |= {f"files/config/{unit.config}": configuration(unit.service, by_sockets(blueprint)) for unit in units}
    if blueprint.weights:
        found["files/weights.json"] = listing(blueprint.weights)
    return found | _code() | _roles()


def _unit(blueprint: Blueprint, service: Service) -> _Unit:
    name = f"paictl-{blueprint.agent}-{service.name}.service"
    etc, lib, run = f"/etc/paictl/{blueprint.agent}", _lib(blueprint), f"/run/paictl/{blueprint.agent}"
    listens = any(not one.public for one in service.endpoints)
    config = PurePosixPath(service.config.path)
    read_only = {f"{etc}/{config.parent}": str(config.parent)}
    read_only |= {f"{lib}/{folder.path}": folder.path for folder in models_of(blueprint, service)}
    read_write = {f"{lib}/{volume.path}": volume.path for volume in service.volumes}
    read_write |= {f"{run}/{other}": f"run/{other}" for other in ([service.name] if listens else [])}
    read_only |= {f"{run}/{other}": f"run/{other}" for other in service.neighbours}
    places = [*_SYSTEM_PLACES, *(f"{ROOT[1:]}/{place}" for place in (read_only | read_write).values())]
    return _Unit(
        service=service,
        name=name,
        config=str(config.relative_to("config")),
        room=f"{lib}/rooms/{service.name}",
        directories=tuple(sorted(set(_with_parents(places)))),
        read_only=read_only,
        read_write=read_write,
        after=tuple(f"paictl-{blueprint.agent}-{other}.service" for other in service.needs),
        secrets=blueprint.secrets_of(service),
        listens=listens,
    )


def _with_parents(paths: list[str]) -> Iterator[str]:
    """Every directory on the way, the root itself (empty) first."""
    for path in paths:
        yield path
        yield from ("" if str(parent) == "." else str(parent) for parent in PurePosixPath(path).parents)


def _user(agent: str) -> str:
    """One system user an agent; a name that is too long is cut, and told apart by its digest."""
    name = f"paictl-{agent}"
    return name if len(name) <= _LONGEST_USER else f"{name[:19]}-{digest(agent)}"


def _lib(blueprint: Blueprint) -> str:
    return f"/var/lib/paictl/{blueprint.agent}"


@cache
def _build() -> str:
    return digest(json.dumps(_code(), sort_keys=True))


@cache
def _code() -> dict[str, str]:
    """The runtime as the role copies it; what only containers need stays out."""
    left_out = {"connect.py", "health.py"}
    return {f"files/runtime/{path}": text for path, text in runtime_source().items() if path not in left_out}


@cache
def _roles() -> dict[str, str]:
    found: dict[str, str] = {}
    for role in _ROLES:
        folder = asset("roles", role)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            found[f"roles/{role}/{file.relative_to(folder).as_posix()}"] = file.read_text(encoding="utf-8")
    return found
