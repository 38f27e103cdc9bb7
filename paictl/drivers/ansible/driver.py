"""The Ansible driver: an agent as hardened units of hosts that are reached over ssh, or of this machine. Called by the engine.

It joins what the modules beside it do to the protocol ``paictl.engine.driver.Driver``; it decides nothing.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

from paictl.blueprint.types import Blueprint, Wiring
from paictl.drivers.ansible import ledger, locking, logs, observing, preflight, reaching, room, uploads
from paictl.drivers.ansible.acting import Acting, Given
from paictl.drivers.ansible.health import probe
from paictl.drivers.ansible.hosts import Hosts
from paictl.drivers.ansible.kinds import DRIVER, host_of
from paictl.drivers.ansible.resources import resources
from paictl.drivers.ansible.shell import Shell
from paictl.engine.driver import Holder, Peer, Reach, RoomResult, Scope, SecretReader
from paictl.engine.model import Address, Health, Observation, Resource, Step
from paictl.engine.preview import Preview
from paictl.events import Emit
from paictl.render.layout import host_of as host_of_service
from paictl.render.wiring import by_sockets

__all__ = ["AnsibleDriver"]

_HEALTHY = Health("healthy")


@dataclass
class AnsibleDriver:
    """The hosts of one target. ``offline``: whatever they need is brought from here, from what is here already."""

    hosts: Hosts
    offline: bool = False
    name: str = DRIVER
    silent: bool = False
    _forwards: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
    _machines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        atexit.register(self._forwards.close)
        self._acting = Acting(self.hosts)
        self._guards = locking.Guards()

    def render(self, blueprint: Blueprint) -> Sequence[Resource]:
        return resources(blueprint)

    def preflight(self, blueprint: Blueprint, observation: Observation) -> None:
        preflight.check(blueprint, observation, self._machines)

    def observe(self, scope: Scope) -> Observation:
        looked = observing.look(self.hosts, scope)
        self._machines = looked.machines
        return looked.observation

    def act(self, step: Step, *, secrets: SecretReader, emit: Emit) -> None:
        if not step.spec:
            return
        for host in {one.place or host_of(one.spec) for one in (step.resource, step.observed) if one is not None}:
            self._guards.check(host)
        more: Mapping[str, object] = {}
        if step.resource is not None and step.action != "delete":
            shell = Shell(self.hosts, host_of(step.resource.spec))
            more = uploads.before(shell, step.resource, self._supply(shell.name), emit)
        scope = Scope(str(step.spec["agent"]), step.address.target)
        self._acting.act(scope, step, Given(secrets, emit, more))

    def preview(self, steps: Sequence[Step], emit: Emit) -> Mapping[Address, Preview]:
        # Only whoever looks ahead pays for it.
        from paictl.drivers.ansible import previewing

        def variables(resource: Resource) -> Mapping[str, object]:
            return uploads.foretold(resource, self._supply(host_of(resource.spec)))

        return previewing.preview(self.hosts, steps, variables, emit)

    def probe(self, resource: Resource) -> Health:
        if resource.address.kind != "service":
            return _HEALTHY
        spec: Mapping[str, Any] = resource.spec
        return probe(Shell(self.hosts, host_of(spec)), spec["unit"], spec.get("check"))

    def adopt(self, scope: Scope, addresses: Sequence[Address]) -> None:
        looked = observing.look(self.hosts, scope)
        for one in looked.observation.resources:
            if one.address in addresses and one.owner != "mine":
                self._acting.adopt(scope, one)

    def wiring(self, blueprint: Blueprint, _service: str) -> Wiring:
        # Every service sees the others at the same places.
        return by_sockets(blueprint)

    def logs(self, scope: Scope, service: str, *, tail: int, follow: bool) -> Iterator[str]:
        return logs.tail(self.hosts, scope, service, tail, follow=follow)

    def peers(self, blueprint: Blueprint) -> Sequence[Peer]:
        del blueprint
        return ()  # rooms have no network here, and sockets are files

    def reach(self, blueprint: Blueprint, *, port: int = 0) -> Reach:
        door, endpoint = blueprint.public
        shell = self._shell(blueprint, door.name)
        token = reaching.token(shell, blueprint.agent)
        if token is None:
            raise logs.absent(blueprint.agent, door.name)
        if self.hosts.logins[shell.name].local:
            return Reach(endpoint.url, token)
        # As long as this process runs, whoever it hands the address to may use it.
        authority = endpoint.url.removeprefix("http://")
        url = self._forwards.enter_context(reaching.forward(shell, authority, port))
        return Reach(url, token, held=True)

    def run_in_room(self, blueprint: Blueprint, service: str, argv: Sequence[str], stdin: bytes = b"") -> RoomResult:
        return room.run(self._shell(blueprint, service), blueprint.agent, service, argv, stdin)

    def hold_lock(self, scope: Scope, holder: Holder) -> AbstractContextManager[str]:
        return locking.hold(self.hosts, self._guards, scope, holder)

    def save_inventory(self, scope: Scope, inventory: Mapping[str, object]) -> None:
        ledger.save(self.hosts, scope, inventory, self._guards)

    def load_inventory(self, scope: Scope) -> Mapping[str, object] | None:
        return ledger.load(self.hosts, scope)

    def _supply(self, host: str) -> uploads.Supply:
        return uploads.Supply(there=self.hosts.logins[host].offline or self.offline, here=self.offline)

    def _shell(self, blueprint: Blueprint, service: str) -> Shell:
        return Shell(self.hosts, host_of_service(blueprint, blueprint.service(service)))
