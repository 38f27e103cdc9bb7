"""The fake driver: every call of the protocol, against a file, with the faults it is told to have."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from paictl.blueprint.types import Blueprint, Wiring
from paictl.drivers.fake.faults import Faults
from paictl.drivers.fake.render import render, wiring
from paictl.drivers.fake.world import Thing, World
from paictl.engine.driver import Holder, Peer, Reach, RoomResult, Scope, SecretReader
from paictl.engine.inventory import address_from_text
from paictl.engine.lock import flocked
from paictl.engine.model import Address, Health, Observation, Observed, Resource, Step
from paictl.errors import PaictlError, Refused, Unavailable, Unreachable
from paictl.events import Emit

__all__ = ["FakeDriver"]


class FakeDriver:
    """One world, which is one target of one agent. ``unread`` are the spec keys that can't be read back."""

    name = "fake"
    silent = False

    def __init__(
        self, path: Path, faults: Faults | None = None, unread: frozenset[str] = frozenset({"sealed"})
    ) -> None:
        self.world = World(path)
        self.faults = Faults.beside(path) if faults is None else faults
        self._unread = unread

    def render(self, blueprint: Blueprint) -> Sequence[Resource]:
        return render(blueprint)

    def preflight(self, blueprint: Blueprint, observation: Observation) -> None:
        del blueprint, observation
        if self.faults.preflight:
            raise Refused(self.faults.preflight, help="Tell it otherwise.")

    def observe(self, scope: Scope) -> Observation:
        if self.faults.unreachable:
            raise Unreachable(f"the fake target {scope.target} can't be reached", help="Switch it on.")
        if self.faults.partial:
            raise Unreachable(f"only a part of the fake target {scope.target} can be read", help="Try again.")
        things = (thing for thing in self.world.things.values() if thing.place not in self.faults.away)
        return Observation(tuple(self._observed(thing, scope) for thing in things), self.faults.away)

    def _observed(self, thing: Thing, scope: Scope) -> Observed:
        return Observed(
            address=address_from_text(thing.address, scope.target, self.name),
            owner=thing.owner,
            spec={key: value for key, value in thing.spec.items() if key not in self._unread},
            fingerprint=thing.fingerprint,
            instance=thing.instance,
            token=self.world.token(thing.key),
            health=self._health(thing),
            handle=f"{thing.address}@{thing.instance}",
            holds_data=thing.holds_data,
            depends_on=tuple(address_from_text(need, scope.target, self.name) for need in thing.depends_on),
            place=thing.place,
        )

    def _health(self, thing: Thing) -> Health:
        if not thing.running:
            return Health("unhealthy", f"{thing.address} was stopped")
        if thing.address in self.faults.terminal:
            return Health("unhealthy", self.faults.terminal[thing.address], terminal=True)
        return Health("healthy")

    def act(self, step: Step, *, secrets: SecretReader, emit: Emit) -> None:
        del secrets, emit
        if self.faults.fails(self.faults.fail, step.id):
            raise PaictlError(f"the fake was told to fail {step.id}", help="Tell it otherwise.")
        if step.resource is not None:
            self._make(step, step.resource)
        elif step.observed is not None and self.world.get((str(step.address), step.observed.instance)) is not None:
            self.world.remove(
                (str(step.address), step.observed.instance), f"delete {_named(step, step.observed.instance)}"
            )
        if self.faults.fails(self.faults.fail_after, step.id):
            raise PaictlError(f"the fake was told to fail after {step.id}", help="Tell it otherwise.")

    def _make(self, step: Step, resource: Resource) -> None:
        wanted = Thing(
            address=str(resource.address),
            spec=resource.spec,
            fingerprint=step.fingerprint,
            instance=step.instance,
            holds_data=resource.holds_data,
            depends_on=tuple(str(need) for need in resource.depends_on),
            place=resource.place,
        )
        standing = self.world.get(wanted.key)
        if standing == _as_read(wanted):
            return  # a crash came after the effect, or it runs already
        if step.action == "replace" and standing is not None and standing.fingerprint != wanted.fingerprint:
            self.world.remove(wanted.key, f"remove {_named(step, step.instance)}")
        if step.id in self.faults.die:
            os.kill(os.getpid(), signal.SIGKILL)
        self.world.put(wanted, f"{step.action} {_named(step, step.instance)}")

    def probe(self, resource: Resource) -> Health:
        found = self.faults.probe(str(resource.address))
        if found is not None:
            return found
        standing = [
            thing for thing in self.world.things.values() if thing.address == str(resource.address) and thing.running
        ]
        return Health("healthy") if standing else Health("unhealthy", f"{resource.address} is not running")

    def adopt(self, scope: Scope, addresses: Sequence[Address]) -> None:
        del scope
        names = {str(address) for address in addresses}
        for thing in self.world.things.values():
            if thing.address in names and thing.owner != "mine":
                self.world.put(replace(thing, owner="mine"), f"adopt {thing.address}")

    def logs(self, scope: Scope, service: str, *, tail: int, follow: bool) -> Iterator[str]:
        del scope, follow
        lines = [effect for effect in self.world.effects if effect.partition("@")[0].endswith(f" service/{service}")]
        yield from lines[-tail:] if tail else ()

    def wiring(self, blueprint: Blueprint, service: str) -> Wiring:
        del blueprint, service
        return wiring

    def peers(self, blueprint: Blueprint) -> Sequence[Peer]:
        del blueprint
        return ()  # nothing listens in this world

    def reach(self, blueprint: Blueprint, *, port: int = 0) -> Reach:
        del port
        _, endpoint = blueprint.public
        return Reach(f"http://{endpoint.bind}:{endpoint.port}", "fake-token")

    def run_in_room(self, blueprint: Blueprint, service: str, argv: Sequence[str], stdin: bytes = b"") -> RoomResult:
        del blueprint, argv, stdin
        raise Unavailable(f"driver fake has no room to run {service} in", help="Use a target with the native driver.")

    def hold_lock(self, scope: Scope, holder: Holder) -> AbstractContextManager[str]:
        del scope
        self.world.path.parent.mkdir(parents=True, exist_ok=True)
        return flocked(self.world.path.with_suffix(".lock"), holder)

    def save_inventory(self, scope: Scope, inventory: Mapping[str, object]) -> None:
        del scope
        self.world.keep(inventory)

    def load_inventory(self, scope: Scope) -> Mapping[str, object] | None:
        del scope
        return self.world.inventory


def _named(step: Step, instance: str) -> str:
    return f"{step.address}@{instance}" if instance else str(step.address)


def _as_read(thing: Thing) -> Thing:
    """The thing as it comes back from the file: lists for tuples."""
    return replace(thing, spec={key: _plain(value) for key, value in thing.spec.items()})


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
