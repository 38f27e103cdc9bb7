"""The Docker driver: an agent as hardened containers of one engine, wherever that is. Called by the engine of paictl.

It joins the kinds, each in a module of its own, to the protocol ``paictl.engine.driver.Driver``; it decides nothing.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field

from paictl.blueprint.types import Blueprint, Wiring
from paictl.drivers.docker import ledger, locking, logs, preflight
from paictl.drivers.docker.companion import beside
from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.contents import Images, ModelFiles, Secrets
from paictl.drivers.docker.execution import run
from paictl.drivers.docker.health import container_health
from paictl.drivers.docker.jobs import Jobs
from paictl.drivers.docker.kind import HEALTHY, Act, Kind
from paictl.drivers.docker.naming import DRIVER, FINGERPRINT
from paictl.drivers.docker.networks import Networks
from paictl.drivers.docker.peers import peers
from paictl.drivers.docker.relay import relay
from paictl.drivers.docker.resources import resources
from paictl.drivers.docker.services import Services, containers_of
from paictl.drivers.docker.view import look
from paictl.drivers.docker.volumes import Volumes
from paictl.engine.driver import Holder, Peer, Reach, RoomResult, Scope, SecretReader
from paictl.engine.fingerprint import fingerprint
from paictl.engine.model import Address, Health, Observation, Resource, Step
from paictl.errors import PaictlError
from paictl.events import Emit
from paictl.render.containers import ROOT
from paictl.render.wiring import by_names

__all__ = ["DockerDriver"]

_KINDS: Mapping[str, Kind] = {
    "image": Images(),
    "job": Jobs(),
    "network": Networks(),
    "secret": Secrets(),
    "service": Services(),
    "volume": Volumes(),
    "weights": ModelFiles(),
}
_PYTHON = "/opt/paictl/venv/bin/python"


@dataclass
class DockerDriver:
    """One engine. ``offline`` forbids to fetch what neither it nor this machine has."""

    connection: Connection = field(default_factory=Connection)
    offline: bool = False
    name: str = DRIVER
    silent: bool = False
    _relays: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    def __post_init__(self) -> None:
        atexit.register(self._relays.close)

    def render(self, blueprint: Blueprint) -> Sequence[Resource]:
        return resources(blueprint)

    def preflight(self, blueprint: Blueprint, observation: Observation) -> None:
        with self.connection.told("looking at what is there"):
            preflight.check(self.connection, blueprint, observation, offline=self.offline)

    def observe(self, scope: Scope) -> Observation:
        with self.connection.told("looking at what is there"):
            return Observation(tuple(look(self.connection, scope).all()))

    def act(self, step: Step, *, secrets: SecretReader, emit: Emit) -> None:
        act, kind = Act(step, self.connection, secrets, emit, self.offline), _kind(step.address)
        with self.connection.told(f"{'removing' if step.action == 'delete' else 'making'} {step.address}"):
            if step.action == "delete":
                kind.remove(act)
            else:
                kind.make(act)

    def probe(self, resource: Resource) -> Health:
        if resource.address.kind != "service":
            return HEALTHY
        scope = Scope(str(resource.spec["agent"]), resource.address.target)
        with self.connection.told(f"asking after {resource.address}"):
            standing = containers_of(self.connection, scope, resource.address.name)
            if not standing:
                return Health("unhealthy", "its container is gone")
            # Of two, it is the one made from this that is waited for, else the younger one.
            label = fingerprint(resource.spec)
            made = [one for one in standing if one["Labels"].get(FINGERPRINT) == label] or standing
            return container_health(self.connection, self.connection.ask(f"/containers/{made[-1]['Id']}/json"))

    def adopt(self, scope: Scope, addresses: Sequence[Address]) -> None:
        with self.connection.told("adopting"):
            standing = look(self.connection, scope).all()
            theirs = [one for one in standing if one.address in addresses and one.owner != "mine"]
            handles = {str(one.address): one.handle for one in theirs}
            ledger.adopt(self.connection, scope, handles)

    def logs(self, scope: Scope, service: str, *, tail: int, follow: bool) -> Iterator[str]:
        return logs.tail(self.connection, self._container(scope, service), tail, follow=follow)

    def wiring(self, blueprint: Blueprint, service: str) -> Wiring:
        return by_names(blueprint, blueprint.service(service))

    def peers(self, blueprint: Blueprint) -> Sequence[Peer]:
        return tuple(peers(self.connection, _scope(blueprint)))

    def reach(self, blueprint: Blueprint, *, port: int = 0) -> Reach:
        door, endpoint = blueprint.public
        container = self._container(_scope(blueprint), door.name)
        said = run(self.connection, container, ["cat", f"{ROOT}/secrets/gateway-token"])
        if said.code != 0:
            raise PaictlError(f"{blueprint.agent} is not running", help="`paictl apply` starts it.")
        token = said.stdout.decode("ascii").strip()
        if self.connection.engine().local:
            return Reach(self._published(container) or endpoint.url, token)
        # As long as this process runs, whoever it hands the address to may use it.
        way = relay(self.connection, container, endpoint.port, _PYTHON, local=port)
        return Reach(self._relays.enter_context(way), token, held=True)

    def run_in_room(self, blueprint: Blueprint, service: str, argv: Sequence[str], stdin: bytes = b"") -> RoomResult:
        scope = _scope(blueprint)
        container = self._container(scope, service)
        command = [_PYTHON, *argv[1:]] if argv[0] == "python" else list(argv)
        with self.connection.told(f"running a command in the room of {service}"), ExitStack() as stack:
            if argv[0] == "python" and blueprint.service(service).upstream:
                image = self.connection.api.inspect_container(self._container(scope, blueprint.public[0].name))["Image"]
                container = stack.enter_context(beside(self.connection, scope, container, image))
            return run(self.connection, container, command, stdin)

    def hold_lock(self, scope: Scope, holder: Holder) -> AbstractContextManager[str]:
        return locking.hold(self.connection, scope, holder)

    def save_inventory(self, scope: Scope, inventory: Mapping[str, object]) -> None:
        with self.connection.told("keeping the record"):
            ledger.save(self.connection, scope, inventory)

    def load_inventory(self, scope: Scope) -> Mapping[str, object] | None:
        with self.connection.told("reading the record"):
            return ledger.load(self.connection, scope)

    def _container(self, scope: Scope, service: str) -> str:
        """The container of a service that has been there longest: while it is replaced, that one serves."""
        with self.connection.told(f"looking for {service}"):
            standing = containers_of(self.connection, scope, service)
        if not standing:
            raise PaictlError(f"{service} of {scope.agent} is not set up here", help="Run `paictl apply` first.")
        return str(standing[0]["Id"])

    def _published(self, container: str) -> str:
        """Where the running gateway is published, whatever the manifest says by now."""
        told = self.connection.ask(f"/containers/{container}/json")
        return next(
            (
                f"http://{'127.0.0.1' if one['HostIp'] in {'', '0.0.0.0'} else one['HostIp']}:{one['HostPort']}"  # noqa: S104 - read, not bound
                for several in (told["HostConfig"].get("PortBindings") or {}).values()
                for one in several or ()
            ),
            "",
        )


def _scope(blueprint: Blueprint) -> Scope:
    return Scope(blueprint.agent, blueprint.target)


def _kind(address: Address) -> Kind:
    try:
        return _KINDS[address.kind]
    except KeyError:
        raise PaictlError(
            f"{address} was made by a newer paictl, which this one does not understand", help="Use the newer paictl."
        ) from None
