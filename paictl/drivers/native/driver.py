"""The native driver: an agent as supervised processes of this user, below one private directory. Called by the engine.

It joins the kinds, each in a module of its own, to the protocol ``paictl.engine.driver.Driver``; it decides nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from paictl.blueprint.types import Blueprint, Wiring
from paictl.clock import Clock, SystemClock
from paictl.drivers.native import logs, preflight, records
from paictl.drivers.native.directories import HOME, Directories, Homes, claim, must_be_readable, owner, retire
from paictl.drivers.native.disk import read_json, write_json
from paictl.drivers.native.files import Files
from paictl.drivers.native.health import service_health
from paictl.drivers.native.kind import HEALTHY, Act, Here, Kind
from paictl.drivers.native.layout import Layout
from paictl.drivers.native.records import DRIVER, Record
from paictl.drivers.native.resources import resources
from paictl.drivers.native.secrets import Secrets
from paictl.drivers.native.services import Services
from paictl.drivers.native.supervision import look
from paictl.drivers.native.supervisors import Supervisors
from paictl.drivers.native.units import Units, foreign
from paictl.drivers.native.venvs import Venvs
from paictl.drivers.native.weights import ModelFiles
from paictl.engine.driver import Holder, Peer, Reach, RoomResult, Scope, SecretReader
from paictl.engine.lock import flocked
from paictl.engine.model import Address, Health, Observation, Observed, Resource, Step
from paictl.errors import PaictlError, Unreachable
from paictl.events import Emit
from paictl.render.wiring import by_sockets

__all__ = ["NativeDriver"]

_KINDS: Mapping[str, Kind] = {
    "file": Files(),
    "secret": Secrets(),
    "service": Services(),
    "supervisor": Supervisors(),
    "unit": Units(),
    "venv": Venvs(),
    "volume": Directories(),
    "weights": ModelFiles(),
}
_ROOM_SECONDS = 120.0


@dataclass
class NativeDriver:
    """The machine it runs on, for the user it runs as. ``offline`` forbids to fetch what the cache doesn't hold."""

    clock: Clock = field(default_factory=SystemClock)
    offline: bool = False
    name: str = DRIVER
    silent: bool = False

    def render(self, blueprint: Blueprint) -> Sequence[Resource]:
        return resources(blueprint, Layout.of(blueprint.agent))

    def preflight(self, blueprint: Blueprint, observation: Observation) -> None:
        weights = [one.spec.get("sha256") for one in observation.resources if one.address.kind == "weights"]
        preflight.check(blueprint, Layout.of(blueprint.agent), [str(one) for one in weights], offline=self.offline)

    def observe(self, scope: Scope) -> Observation:
        layout = Layout.of(scope.agent)
        try:
            must_be_readable(layout)
            return Observation(tuple(self._standing(layout, scope)))
        except OSError as error:
            raise Unreachable(
                f"{layout.root} can't be read in full: {error.strerror or error} ({error.filename})",
                help="Give this user back the right to read it; nothing was changed.",
            ) from error

    def act(self, step: Step, *, secrets: SecretReader, emit: Emit) -> None:
        act = Act(step, _layout(step), self.clock, secrets, emit, self.offline)
        kind = _kind(step.address)
        if step.action == "delete":
            kind.remove(act)
            records.erase(act.layout, step.address, step.instance)
            retire(act.layout)
            return
        if records.read(act.layout, step.address, step.instance) is None and step.address.name != HOME:
            # Known as ours from the first moment, so that what a crash leaves is found by whoever prunes.
            records.begin(act.layout, step)
        records.keep(act.layout, step, kind.make(act))

    def probe(self, resource: Resource) -> Health:
        layout = Layout.of(str(resource.spec["agent"]))
        if resource.address.kind == "supervisor":
            return HEALTHY if look(layout) else Health("unhealthy", "it is not running")
        if resource.address.kind != "service":
            return HEALTHY
        check = resource.spec.get("health")
        return service_health(
            layout, look(layout), resource.address.name, check if isinstance(check, dict) else {}, self.clock
        )

    def adopt(self, scope: Scope, addresses: Sequence[Address]) -> None:
        layout = Layout.of(scope.agent)
        for address in addresses:
            if address.kind == "directory" and owner(layout) is None and layout.root.is_dir():
                write_json(layout.owner, {"format": 1, "agent": scope.agent, "target": scope.target})
            elif address.kind == "unit":
                claim(layout, scope.target)
                adopted = Resource(address, {"agent": scope.agent})
                records.keep(layout, Step(f"adopt:{address}", address, "create", "it was adopted", resource=adopted))

    def logs(self, scope: Scope, service: str, *, tail: int, follow: bool) -> Iterator[str]:
        layout = Layout.of(scope.agent)
        path = layout.log(service)
        if not path.exists():
            _must_stand(layout)
            known = ", ".join(sorted(one.stem for one in path.parent.glob("*.log"))) or "none yet"
            raise PaictlError(f"there is no log of {service}", help=f"These have one: {known}.")
        return self._lines(layout, service, tail, follow=follow)

    def wiring(self, blueprint: Blueprint, _service: str) -> Wiring:
        # Every service sees the others at the same places.
        return by_sockets(blueprint)

    def peers(self, blueprint: Blueprint) -> Sequence[Peer]:
        del blueprint
        return ()  # rooms have no network here, and sockets are files

    def reach(self, blueprint: Blueprint, *, port: int = 0) -> Reach:
        del port
        layout = Layout.of(blueprint.agent)
        service, endpoint = blueprint.public
        try:
            token = (layout.secrets / "gateway-token").read_text(encoding="ascii").strip()
        except OSError as error:
            _must_stand(layout)
            raise PaictlError(f"{blueprint.agent} is not running", help="`paictl apply` starts it.") from error
        # Where it was applied; the manifest's port may have moved on without an apply.
        standing = records.read(layout, Address(blueprint.target, DRIVER, "service", service.name))
        return Reach(str(standing.spec["url"]) if standing else endpoint.url, token)

    def run_in_room(self, blueprint: Blueprint, service: str, argv: Sequence[str], stdin: bytes = b"") -> RoomResult:
        command, environment = self.room_command(blueprint, service, argv)
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, check=False, env=environment, timeout=_ROOM_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PaictlError(
                f"nothing could be run in the room of {service}: {error}", help="See `paictl status`."
            ) from error
        return RoomResult(done.returncode, done.stdout, done.stderr)

    def room_command(self, blueprint: Blueprint, service: str, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The command and the environment that run ``argv`` with the service's confinement; ``exec`` ties a terminal to it."""
        layout = Layout.of(blueprint.agent)
        _must_stand(layout)
        supervisor = records.read(layout, Address(blueprint.target, DRIVER, "supervisor", "main"))
        # The runtime that stands; the manifest's may have moved on without an apply.
        digest = supervisor.spec.get("runtime") if supervisor else blueprint.runtime.digest
        python = layout.paths(str(digest)).python
        command = [python, "-m", "paictl.runtime.boot", "exec", "--root", str(layout.root), service, "--", *argv]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "PYTHONSAFEPATH": "1"}
        return command, environment

    def hold_lock(self, scope: Scope, holder: Holder) -> AbstractContextManager[str]:
        path = Layout.of(scope.agent).lock
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return flocked(path, holder)

    def save_inventory(self, scope: Scope, inventory: Mapping[str, object]) -> None:
        layout = Layout.of(scope.agent)
        # After everything was destroyed, its record must not bring the root back.
        if layout.root.exists() or inventory.get("resources"):
            claim(layout, scope.target)
            write_json(layout.inventory, dict(inventory))

    def load_inventory(self, scope: Scope) -> Mapping[str, object] | None:
        layout = Layout.of(scope.agent)
        found = owner(layout)
        return read_json(layout.inventory) if found and found.get("target") == scope.target else None

    def _standing(self, layout: Layout, scope: Scope) -> Iterator[Observed]:
        found = owner(layout)
        home = Address(scope.target, DRIVER, "directory", HOME)
        boot = Address(scope.target, DRIVER, "unit", "boot")
        known = set()
        if found and (found.get("agent"), found.get("target")) != (scope.agent, scope.target):
            yield Observed(home, "foreign", {"agent": str(found.get("agent"))})
            return
        if not found and layout.root.is_dir() and any(layout.root.iterdir()):
            yield Observed(home, "unlabelled", {})
        elif found:
            here = Here(layout, look(layout), self.clock)
            for record in records.read_all(layout, scope.target):
                known.add(record.address)
                seen = _kind(record.address).observe(here, record)
                if seen:
                    yield Observed(
                        record.address,
                        "mine",
                        seen.spec,
                        fingerprint=record.label,
                        instance=record.instance,
                        token=_token(record, seen.spec),
                        health=seen.health,
                        handle=seen.handle,
                        holds_data=record.holds_data,
                        depends_on=record.depends_on,
                        since=seen.since,
                        url=seen.url,
                    )
        if boot not in known and foreign(scope.agent):
            yield Observed(boot, "unlabelled", {})

    def _lines(self, layout: Layout, service: str, tail: int, *, follow: bool) -> Iterator[str]:
        yield from logs.last_lines(layout.log(service), tail)
        if follow:
            yield from logs.follow(layout.log(service), self.clock)


def _kind(address: Address) -> Kind:
    if address.kind == "directory":
        return Homes() if address.name == HOME else Directories()
    try:
        return _KINDS[address.kind]
    except KeyError:
        raise PaictlError(
            f"{address} was made by a newer paictl, which this one does not understand",
            help="Use the newer paictl.",
        ) from None


def _must_stand(layout: Layout) -> None:
    # After `paictl destroy` the root is still there with the data; what is set up has a supervisor.
    if not layout.supervisor_config.is_file():
        raise PaictlError(f"{layout.agent} is not set up here", help="Run `paictl apply` first.")


def _layout(step: Step) -> Layout:
    if not step.spec:
        message = f"{step.id} names neither what to make nor what stands"
        raise ValueError(message)
    return Layout.of(str(step.spec["agent"]))


def _token(record: Record, spec: Mapping[str, object]) -> str:
    """Changes when what is set up changes; a restart by the supervisor is not a change of what a person reviewed."""
    content = json.dumps([record.label, record.instance, spec], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
