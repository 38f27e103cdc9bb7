"""How an agent lies on a host: the user it is, the build it runs, its folders, and which of its services is where.

Pure; asked by whatever renders for hosts, and by the ansible driver.
"""

from __future__ import annotations

from paictl.blueprint.types import Blueprint, Service
from paictl.render.containers import digest

__all__ = ["HERE", "build", "etc_of", "host_of", "lib_of", "run_of", "user_of"]

HERE = "localhost"
"""The host of a target that names none: this machine."""

# useradd's own limit.
_LONGEST_USER = 32


def host_of(blueprint: Blueprint, service: Service) -> str:
    """The name of the host that a service runs on."""
    return service.host or (blueprint.hosts[0].name if blueprint.hosts else HERE)


def user_of(agent: str) -> str:
    """One system user an agent; a name that is too long is cut, and told apart by its digest."""
    name = f"paictl-{agent}"
    return name if len(name) <= _LONGEST_USER else f"{name[:19]}-{digest(agent)}"


def build(blueprint: Blueprint) -> str:
    """The name of the pinned runtime on a host; each has a directory of its own there, and stays what it is when paictl is newer."""
    return digest(blueprint.runtime.digest)


def etc_of(blueprint: Blueprint) -> str:
    """Where its configuration and its secrets are."""
    return f"/etc/paictl/{blueprint.agent}"


def lib_of(blueprint: Blueprint) -> str:
    """Where its data is, and what it is made of."""
    return f"/var/lib/paictl/{blueprint.agent}"


def run_of(blueprint: Blueprint) -> str:
    """Where its sockets are."""
    return f"/run/paictl/{blueprint.agent}"
