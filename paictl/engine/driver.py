"""The one seam between the engine and the targets: what every driver can do. Implemented in ``paictl.drivers``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from paictl.blueprint.types import Blueprint, Wiring
from paictl.engine.model import Address, Health, Observation, Resource, Step
from paictl.events import Emit

__all__ = ["Driver", "Holder", "Peer", "Reach", "RoomResult", "Scope", "SecretReader"]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which agent on which target."""

    agent: str
    target: str


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: told to whoever finds it held."""

    who: str
    host: str
    pid: int
    since: str
    verb: str


@dataclass(frozen=True, slots=True)
class Reach:
    """The gateway as seen from here: its base URL without a path, and the owner's token.

    ``held``: a way that was opened for this process, and ends with it.
    """

    url: str
    token: str = field(repr=False)
    held: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """Something that a room could come to see on the networks of its target: every name and address that it has there.

    ``name`` is a service of the blueprint, or what people call it: ``the machine``.
    """

    name: str
    aliases: tuple[str, ...]
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoomResult:
    """What a command in a room came to."""

    code: int
    stdout: bytes
    stderr: bytes


class SecretReader(Protocol):
    """Reads a declared secret at the moment it is written to the target; never kept, never logged."""

    def __call__(self, name: str) -> bytes:
        """The secret's value; raises ``PaictlError`` (without the value) when it can't be read."""
        ...


class Driver(Protocol):
    """Makes resources true on one kind of target. Stateless beyond its connection; every call may come after a crash."""

    name: str
    # Whether rooms here drop what they forbid without a word, so that silence is no sign that a packet has left.
    silent: bool

    def render(self, blueprint: Blueprint) -> Sequence[Resource]:
        """The resources that make the blueprint true here. Pure."""
        ...

    def preflight(self, blueprint: Blueprint, observation: Observation) -> None:
        """Raise ``Refused`` for what can be known to fail before anything changes: a port taken, no space, no sandbox."""
        ...

    def observe(self, scope: Scope) -> Observation:
        """Everything that stands, complete; raises ``Unreachable`` when it can't be read in full. Writes nothing."""
        ...

    def act(self, step: Step, *, secrets: SecretReader, emit: Emit) -> None:
        """Carry out one step. Safe to repeat after a crash at any point of it.

        Returns when the effect is there; the executor then probes until it is healthy. A ``run`` returns when the job has
        succeeded. An update without changes makes it run, and leaves alone what runs already. Raises ``PaictlError``, with
        the last log lines where there are some.
        """
        ...

    def probe(self, resource: Resource) -> Health:
        """Whether it is healthy now; does not wait."""
        ...

    def adopt(self, scope: Scope, addresses: Sequence[Address]) -> None:
        """Mark what stands at these addresses as ours; changes nothing else."""
        ...

    def logs(self, scope: Scope, service: str, *, tail: int, follow: bool) -> Iterator[str]:
        """The last lines a service wrote, and those to come when following."""
        ...

    def wiring(self, blueprint: Blueprint, service: str) -> Wiring:
        """The addresses of all endpoints as that service sees them: its own to listen on, the others to connect to."""
        ...

    def peers(self, blueprint: Blueprint) -> Sequence[Peer]:
        """What stands on the networks of the running services, as it is now; nothing where rooms have no network at all."""
        ...

    def reach(self, blueprint: Blueprint, *, port: int = 0) -> Reach:
        """Where the running gateway is reached from here, and with which token (read from the target, never stored).

        Where a way has to be opened for that, it begins at this ``port`` of this machine; 0 for any that is free.
        """
        ...

    def run_in_room(self, blueprint: Blueprint, service: str, argv: Sequence[str], stdin: bytes = b"") -> RoomResult:
        """Run a command with exactly the confinement that the service has there; leaves nothing behind.

        ``argv`` may begin with ``python``: the interpreter of the service itself. ``exec`` and ``verify`` stand on this.
        """
        ...

    def hold_lock(self, scope: Scope, holder: Holder) -> AbstractContextManager[str]:
        """The target's own lock; raises ``LockHeld`` naming the holder. Gone with its process, even by kill -9.

        Gives the holder who died with it and from whom it was taken over, described for people; empty when it was free.
        """
        ...

    def save_inventory(self, scope: Scope, inventory: Mapping[str, object]) -> None:
        """Keep the engine's record on the target too, so that a lost state directory can be rebuilt from it."""
        ...

    def load_inventory(self, scope: Scope) -> Mapping[str, object] | None:
        """What ``save_inventory`` kept, or None."""
        ...
