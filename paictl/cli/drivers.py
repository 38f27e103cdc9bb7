"""Which driver a name means. A driver's module is imported when it is wanted; of the others only rendering is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from shutil import which
from typing import TYPE_CHECKING, get_args

from paictl import places
from paictl.errors import Refused, Unavailable, UsageError
from paictl.manifest.models import DriverName

if TYPE_CHECKING:
    from paictl.blueprint.types import Blueprint
    from paictl.drivers.ansible.hosts import Hosts
    from paictl.engine.driver import Driver, Scope

__all__ = ["Way", "driver_of", "rendered"]

_NAMES: tuple[str, ...] = get_args(DriverName)
_RENDERS_SOFTWARE_OF_OTHERS = frozenset({"docker", "kubernetes"})


@dataclass(frozen=True, slots=True)
class Way:
    """How the manifest's target is reached, in the words of whichever driver uses them."""

    context: str | None = None
    namespace: str | None = None
    hosts: Callable[[], Hosts] | None = None


def driver_of(name: str, scope: Scope, way: Way, *, offline: bool) -> Driver:
    """The driver; raises ``UsageError`` for a name that is none."""
    _check(name)
    if name == "native":
        from paictl.drivers.native import NativeDriver

        return NativeDriver(offline=offline)
    if name == "docker":
        from paictl.drivers.docker.connection import connect
        from paictl.drivers.docker.driver import DockerDriver

        return DockerDriver(connect(way.context), offline)
    if name == "kubernetes":
        from paictl.drivers.docker import connection as docker
        from paictl.drivers.docker.publishing import Publisher
        from paictl.drivers.kubernetes.connection import Connection
        from paictl.drivers.kubernetes.driver import KubernetesDriver

        return KubernetesDriver(Connection(way.context), way.namespace or "", offline, Publisher(docker.connect()))
    if name == "ansible":
        from paictl.drivers.ansible.driver import AnsibleDriver

        if way.hosts is None:
            raise UsageError(
                "driver ansible is told no hosts", help="They stand in a target of its own: `driver: ansible`, `hosts`."
            )
        hosts = way.hosts()
        if which("ssh") is None and not all(login.local for login in hosts.logins.values()):
            raise Refused(
                "ssh is not installed here, and hosts are reached by it", help="apt-get install openssh-client"
            )
        return AnsibleDriver(hosts, offline)
    from paictl.drivers.fake import FakeDriver

    return FakeDriver(places.state_home() / scope.agent / scope.target / "fake" / "world.json")


def _check(name: str) -> None:
    """Raise ``UsageError`` for what is no driver."""
    if name not in _NAMES:
        near = get_close_matches(name, _NAMES, n=1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(f"there is no driver {name!r}", help=f"{meant}There are {', '.join(_NAMES)}.")


def rendered(name: str, blueprint: Blueprint) -> Mapping[str, str]:
    """The plain files of a driver, path -> text. Raises ``Unavailable`` for what its files would leave out."""
    _check(name)
    if name == "fake":
        raise UsageError("the fake driver has no files", help="Render for native, docker, kubernetes or ansible.")
    others = [service.name for service in blueprint.services if service.upstream is not None]
    if others and name not in _RENDERS_SOFTWARE_OF_OTHERS:
        raise Unavailable(
            f"{', '.join(others)}: software of others can't be rendered for driver {name} yet",
            help="`paictl render --driver docker` writes its files.",
        )
    files: Callable[[Blueprint], Mapping[str, str]] = import_module(f"paictl.render.{name}").files
    return files(blueprint)
