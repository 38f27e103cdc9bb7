"""Turns a blueprint into an engine's resources, by way of the files that `paictl render` writes: one source for both. Pure.

Whole roles a host first, then the runtime, then what the services need, then the services themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from paictl.blueprint.types import Blueprint, SecretFile, Service
from paictl.drivers.ansible.kinds import DRIVER, ROLE_KINDS
from paictl.engine.differ import DRIFT
from paictl.engine.model import Address, DataEffect, Probe, Resource
from paictl.errors import Span
from paictl.hosts import bracketed
from paictl.render.containers import ModelFolder, listing, models_of
from paictl.render.layout import build
from paictl.render.periodic import PERIODIC, periodic_unit
from paictl.render.roles import ROLES, hosts_of, role_digest, role_vars, secret_hosts
from paictl.render.units import Unit, target, units

__all__ = ["resources"]

_MOVED = frozenset({"host"})
# What every file of the role ``runtime`` is told; the rest is told to one of them.
_COMMON = ("runtime_agent", "runtime_user")


def resources(blueprint: Blueprint) -> list[Resource]:
    """Everything that has to stand, dependencies first."""
    graph = _Graph(blueprint)
    parts = (graph.before, graph.runtimes, graph.secrets, graph.volumes, graph.weights, graph.services, graph.after)
    return [resource for part in parts for resource in part()]


class _Graph:
    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self.units = units(blueprint)
        self.build = build(blueprint)

    def address(self, kind: str, name: str) -> Address:
        return Address(self.blueprint.target, DRIVER, kind, name)

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """The kinds by their roles."""
        return {role: kind for kind, role in ROLE_KINDS.items()}

    @cached_property
    def told(self) -> Mapping[str, Mapping[str, object]]:
        """The variables of the runtime, by host."""
        return {host: role_vars(self.blueprint, "runtime", host) for host in self.hosts}

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """Where services run."""
        return hosts_of(self.blueprint, "runtime")

    def before(self) -> Iterator[Resource]:
        """The roles that make a host fit to live on, each after the one before it."""
        last: dict[str, tuple[Address, ...]] = {}
        for role in ROLES[: ROLES.index("runtime")]:
            for host in hosts_of(self.blueprint, role):
                made = self._role(role, host, last.get(host, ()))
                last[host] = (made.address,)
                yield made

    def after(self) -> Iterator[Resource]:
        """Those that look after what lives there: they use its runtime, and its data is there when they begin."""
        for role in ROLES[ROLES.index("runtime") + 1 :]:
            for host in hosts_of(self.blueprint, role):
                data = [one.address for one in (*self.volumes(), *self.secrets()) if one.place == host]
                # Both ends of a link make their keys with their runtimes, whichever comes first.
                near = hosts_of(self.blueprint, role) if role == "link" else (host,)
                ready = {address for each in near for address in self._ready(each)}
                yield self._role(role, host, tuple(sorted([*ready, *data])))

    def _role(self, role: str, host: str, needs: tuple[Address, ...]) -> Resource:
        told = dict(role_vars(self.blueprint, role, host))
        # Of what runs now and then, the last result tells how it is.
        unit = {"unit": periodic_unit(self.blueprint, role)} if role in PERIODIC else {}
        spec = self._spec(host, {"role": role, "vars": told, "content": role_digest(role), **unit})
        address = self.address(self.kinds[role], host)
        return Resource(address, spec, needs, replace_on=_MOVED, place=host, origin=self.blueprint.origin)

    def runtimes(self) -> Iterator[Resource]:
        before = {one.place: (one.address,) for one in self.before()}
        for host in self.hosts:
            spec = self._spec(host, {"vars": self._vars(host), "target": target(self.blueprint)})
            yield Resource(
                self._runtime(host),
                spec,
                before.get(host, ()),
                replace_on=_MOVED,
                place=host,
                origin=self.blueprint.origin,
            )

    def secrets(self) -> Iterator[Resource]:
        for secret in self.blueprint.secrets:
            for host in secret_hosts(self.blueprint, secret.name):
                spec = self._spec(
                    host,
                    {
                        "vars": self._vars(host, "runtime_agent"),
                        "secret": secret.name,
                        "generated": secret.generated,
                        "content": secret.fingerprint,
                    },
                )
                yield Resource(
                    self._secret(secret.name, host),
                    spec,
                    self._ready(host),
                    replace_on=_MOVED,
                    holds_data=secret.generated,
                    place=host,
                    origin=secret.origin or self.blueprint.origin,
                )

    def volumes(self) -> Iterator[Resource]:
        volumes = {each.name: (each, one) for one in self.units for each in one.service.volumes}
        for volume, unit in volumes.values():
            yield Resource(
                self.address("volume", volume.name),
                self._spec(unit.host, {"vars": self._vars(unit.host, *_COMMON), "path": volume.path}),
                self._ready(unit.host),
                replace_on=_MOVED,
                holds_data=volume.holds_data,
                place=unit.host,
                origin=volume.origin or unit.service.origin or self.blueprint.origin,
            )

    def weights(self) -> Iterator[Resource]:
        folders = {folder.name: folder for one in self.units for folder in models_of(self.blueprint, one.service)}
        for folder in folders.values():
            for host in self._each(self._users(folder)):
                yield Resource(
                    self._folder(folder, host),
                    self._spec(
                        host,
                        {"vars": self._vars(host, "runtime_agent"), "files": _listed(folder)},
                    ),
                    self._ready(host),
                    replace_on=_MOVED,
                    effect=DataEffect(download_bytes=sum(file.size for file in folder.files)),
                    place=host,
                    origin=next((file.origin for file in folder.files if file.origin), self.blueprint.origin),
                )

    def services(self) -> Iterator[Resource]:
        for unit in self.units:
            service = unit.service
            yield Resource(
                self.address("service", service.name),
                self._spec(unit.host, self._unit(unit)),
                tuple(sorted(set(self._needs(unit)))),
                Probe(service.health.timeout_seconds, service.health.stable_seconds),
                replace_on=_MOVED,
                downtime=True,
                place=unit.host,
                origin=self._origin(service),
            )

    def _unit(self, unit: Unit) -> dict[str, Any]:
        service = unit.service
        read: Iterable[SecretFile] = self.blueprint.secrets_of(service)
        return {
            "vars": self._vars(unit.host),
            "unit": unit.name,
            "text": unit.text,
            "configs": dict(unit.configs),
            "tmpfiles": unit.tmpfiles,
            "service": dict(unit.variables),
            "runtime": self.build,
            "secrets": {one.name: one.fingerprint for one in read if one.fingerprint},
            "check": dict(unit.check) if unit.check else None,
            "url": self._url(unit),
        }

    def _needs(self, unit: Unit) -> Iterator[Address]:
        service, host = unit.service, unit.host
        yield from self._ready(host)
        yield from (self._secret(one.name, host) for one in self.blueprint.secrets_of(service))
        yield from (self.address("volume", one.name) for one in service.volumes)
        yield from (self._folder(one, host) for one in models_of(self.blueprint, service))
        yield from (self.address("service", name) for name in service.needs)
        if any(self.blueprint.service(name).host != service.host for name in service.neighbours):
            yield self.address("link", host)

    def _url(self, unit: Unit) -> str:
        """Where people reach it from anywhere; on another machine's loopback nobody does."""
        door, endpoint = self.blueprint.public
        host = next((one for one in self.blueprint.hosts if one.name == unit.host), None)
        if unit.service.name != door.name:
            return ""
        if host is None:
            return endpoint.url
        return f"http://{bracketed(host.address)}:{endpoint.port}" if endpoint.open else ""

    def _ready(self, host: str) -> tuple[Address, ...]:
        return (self._runtime(host),)

    def _runtime(self, host: str) -> Address:
        return self.address("runtime", self._named(self.build, host, self.hosts))

    def _secret(self, name: str, host: str) -> Address:
        return self.address("secret", self._named(name, host, secret_hosts(self.blueprint, name)))

    def _folder(self, folder: ModelFolder, host: str) -> Address:
        return self.address("weights", self._named(folder.name, host, self._each(self._users(folder))))

    def _users(self, folder: ModelFolder) -> Iterator[Unit]:
        return (one for one in self.units if folder in models_of(self.blueprint, one.service))

    @staticmethod
    def _named(name: str, host: str, hosts: tuple[str, ...]) -> str:
        """The same on several hosts is told apart by their names."""
        return name if len(hosts) == 1 else f"{name}-{host}"

    @staticmethod
    def _each(users: Iterable[Unit]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.host for one in users))

    def _vars(self, host: str, *names: str) -> dict[str, object]:
        told = self.told[host]
        return {name: told[name] for name in names or (*_COMMON, "runtime_build")}

    def _spec(self, host: str, more: Mapping[str, object]) -> dict[str, object]:
        return {"agent": self.blueprint.agent, "host": host, DRIFT: {}, **more}

    def _origin(self, service: Service) -> Span | None:
        return service.origin or self.blueprint.origin


def _listed(folder: ModelFolder) -> list[dict[str, Any]]:
    """The files of a model as the role fetches them, and where each comes from, for when this machine has to bring it."""
    entries: list[dict[str, Any]] = json.loads(listing(folder.files))
    return [{**entry, "source": file.source} for entry, file in zip(entries, folder.files, strict=True)]
