"""The roles that stand an agent up on hosts: their order, the hosts that each is for, and what it is told there.

Pure; called by `paictl render` (``render.ansible``) and by the ansible driver.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from math import ceil

from paictl.assets import asset
from paictl.blueprint.types import Blueprint
from paictl.render.containers import ModelFolder, digest, models_of
from paictl.render.layout import HERE, build, host_of, user_of
from paictl.render.neighbours import NEIGHBOURLY, neighbour_hosts, neighbour_vars, openings
from paictl.render.periodic import PERIODIC, periodic_hosts, periodic_vars
from paictl.render.source import runtime_source
from paictl.render.systems import base_vars
from paictl.render.units import units

__all__ = ["ROLES", "code", "hosts_of", "role_digest", "role_vars", "secret_hosts"]

ROLES = ("base", "hardening", "runtime", *NEIGHBOURLY, *PERIODIC)
"""The roles of a playbook, in the order in which they run."""

_READY_SECONDS = 2


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
