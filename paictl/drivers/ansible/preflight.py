"""What can be known to fail on hosts before anything changes, by what the last look saw of the machines. Pure; called by the driver.

Everything is told at once: hosts are mended by people, one errand at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from paictl.blueprint.types import Blueprint, Service
from paictl.engine.model import Observation, Observed
from paictl.errors import Diagnostic, Refused
from paictl.render.containers import models_of
from paictl.render.layout import host_of
from paictl.render.roles import hosts_of

__all__ = ["Machine", "check", "findings"]

Machine = Mapping[str, Any]
"""The facts of one host, as ``onhost/machine.py`` tells them."""

_PYTHON = (3, 11)
_MACHINES = frozenset({"x86_64", "aarch64"})
# The first of each that has Python 3.11 and systemd 252.
_SINCE: Mapping[str, tuple[int, ...]] = {"debian": (12,), "raspbian": (12,), "ubuntu": (24, 4)}
# Its wheels, unpacked and compiled, beside the archives they come from.
_RUNTIME_BYTES = 900 << 20
_SPARE_BYTES = 128 << 20
_Found = tuple[str, str]
"""What is in the way, and what to do about it."""


def check(blueprint: Blueprint, observation: Observation, machines: Mapping[str, Machine]) -> None:
    """Raise ``Refused`` with everything that is in the way. What is not known of a host that is away is not in the way."""
    found = findings(blueprint, observation, machines)
    if not found:
        return
    if len(found) == 1:
        raise Refused(*found[0])
    raise Refused(
        f"{len(found)} things are in the way on the hosts",
        help="Nothing was changed. Mend them, and apply again.",
        diagnostics=[Diagnostic(Refused.code, summary, help=advice) for summary, advice in found],
    )


def findings(blueprint: Blueprint, observation: Observation, machines: Mapping[str, Machine]) -> list[_Found]:
    """Everything that is in the way, host by host."""
    found = list(_twins(machines))
    for host in hosts_of(blueprint, "runtime"):
        if host in machines:
            found += [(f"{host}: {what}", advice) for what, advice in _on(host, machines[host], blueprint, observation)]
    return found


def _twins(machines: Mapping[str, Machine]) -> Iterator[_Found]:
    """Two names for one machine: what is done to the one would be undone by the other."""
    seen: dict[str, str] = {}
    for host, machine in machines.items():
        first = seen.setdefault(str(machine["boot"]), host)
        if first != host:
            yield (
                f"{first} and {host} are one machine",
                "Two of the target's hosts lead to it: correct an `address`, or take one of them out.",
            )


def _on(host: str, machine: Machine, blueprint: Blueprint, observation: Observation) -> Iterator[_Found]:
    services = [service for service in blueprint.services if host_of(blueprint, service) == host]
    standing = [one for one in observation.resources if one.place == host and one.owner == "mine"]
    yield from _system(machine)
    yield from _memory(machine, services)
    yield from _disk(machine, blueprint, services, standing)
    yield from _ports(machine, services, standing)


def _system(machine: Machine) -> Iterator[_Found]:
    told: Mapping[str, str] = machine.get("os") or {}
    name, kind = told.get("pretty_name") or "an unknown system", told.get("id", "")
    since = _SINCE.get(kind)
    if since is None and "debian" not in told.get("id_like", "").split():
        yield f"it runs {name}", "The roles are for Debian 12 or newer, Raspberry Pi OS and Ubuntu 24.04."
    elif since is not None and _numbers(told.get("version_id", "")) < since:
        yield f"{name} is too old", f"Upgrade it to {kind} {'.'.join(f'{one:02}' for one in since)} or newer."
    elif _numbers(str(machine["python"])) < _PYTHON:
        yield f"its Python is {machine['python']}", "The runtime needs 3.11 or newer: upgrade the system."
    if not machine["systemd"]:
        yield "systemd does not run it", "The agent's services are its units: start the machine with systemd."
    if machine["arch"] not in _MACHINES:
        yield (
            f"its processor is {machine['arch']}",
            "The runtime's packages are made for x86_64 and aarch64: a Raspberry Pi needs a 64-bit system.",
        )


def _memory(machine: Machine, services: Sequence[Service]) -> Iterator[_Found]:
    needed = sum(service.limits.memory for service in services)
    if needed > machine["memory"]:
        yield (
            f"its services need {needed >> 20} MiB of memory, and it has {machine['memory'] >> 20} MiB",
            "Name a smaller model, or run the model on another host of the target (`runs`).",
        )


def _disk(
    machine: Machine, blueprint: Blueprint, services: Sequence[Service], standing: Sequence[Observed]
) -> Iterator[_Found]:
    there = json.dumps([one.spec for one in standing if one.address.kind == "weights"], default=str)
    folders = {folder.path: folder for service in services for folder in models_of(blueprint, service)}
    needed = sum(one.size for folder in folders.values() for one in folder.files if one.sha256 not in there)
    if not any(one.address.kind == "runtime" for one in standing):
        needed += _RUNTIME_BYTES
    if needed and needed + _SPARE_BYTES > machine["disk_free"]:
        yield (
            f"{(needed + _SPARE_BYTES) >> 20} MiB are needed on its disk, and {machine['disk_free'] >> 20} MiB are free",
            "Make room (`df -h` and `du -xh / | sort -h` show what takes it), or name a smaller model.",
        )


def _ports(machine: Machine, services: Sequence[Service], standing: Sequence[Observed]) -> Iterator[_Found]:
    ours = {str((one.spec.get("check") or {}).get("address", "")).rpartition(":")[2] for one in _checked(standing)}
    for service in services:
        for endpoint in service.endpoints:
            taken = endpoint.public and endpoint.port in machine["listening"]
            if taken and str(endpoint.port) not in ours:
                yield (
                    f"port {endpoint.port} is taken",
                    f"`ss -tlnp sport = :{endpoint.port}` on it shows by whom. Or set another `spec.gateway.port`.",
                )


def _checked(standing: Sequence[Observed]) -> Iterator[Any]:
    return (one for one in standing if one.address.kind == "service" and isinstance(one.spec.get("check"), Mapping))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
