"""The engine's nouns: addresses, resources, what was observed, steps and plans. Pure values, no I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from paictl.errors import Span

__all__ = [
    "SYMBOLS",
    "Action",
    "Address",
    "Change",
    "DataEffect",
    "Health",
    "Observation",
    "Observed",
    "Owner",
    "Plan",
    "Probe",
    "Resource",
    "Step",
]

Action = Literal["create", "update", "replace", "delete", "run"]
Owner = Literal["mine", "foreign", "unlabelled"]
Json = object

SYMBOLS: Mapping[Action, str] = {"create": "+", "update": "~", "replace": "±", "delete": "-", "run": ">"}


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Which resource, on which target, through which driver. People see the short form, ``kind/name``."""

    target: str
    driver: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Probe:
    """How to know that a resource is healthy: asked of the driver until it is so and stays so, or the time is up."""

    timeout_seconds: float = 60.0
    stable_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Resource:
    """One concrete thing that has to exist on a target.

    ``spec`` is JSON data, complete: what differs in it is what has changed. ``replace_on`` names the top-level spec keys
    whose change can't be made in place. ``one_shot``: it runs to success once per spec and is remembered.
    ``place`` is the machine it stands on where a target has several: what fails or is away there stops nothing elsewhere.
    ``create_first``: a replacement can stand beside the old one until it is healthy. ``downtime``: an update or
    replacement interrupts what it serves. ``effect`` tells what making it costs (bytes to download).
    """

    address: Address
    spec: Mapping[str, Json]
    depends_on: tuple[Address, ...] = ()
    probe: Probe | None = None
    replace_on: frozenset[str] = frozenset()
    holds_data: bool = False
    one_shot: bool = False
    create_first: bool = False
    downtime: bool = False
    effect: DataEffect | None = None
    place: str = ""
    origin: Span | None = None


@dataclass(frozen=True, slots=True)
class DataEffect:
    """What a step does to data and network: bytes to download, vectors to embed again, hosts newly reached, data destroyed."""

    download_bytes: int = 0
    reembed: int = 0
    egress: tuple[str, ...] = ()
    destroys: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """What a probe found. ``terminal``: waiting longer can't help; ``detail`` ends with the last log lines then."""

    state: Literal["healthy", "starting", "unhealthy", "unknown"]
    detail: str = ""
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """A live resource, told in the words of the desired one.

    ``spec`` holds what the target really has, as far as it can be read back; keys that can't be read back are left out and
    compared by ``fingerprint``, the label that was written when it was made. ``instance`` tells apart two of the same
    address while one replaces the other. ``token`` changes whenever the thing changes. ``handle`` is the driver's own.
    ``remnant``: of what was there only something is left that is made anew with it, and goes with it.
    ``since`` (ISO 8601) and ``url`` are for people: how long it has run, and where it is reached, when that is known.
    """

    address: Address
    owner: Owner
    spec: Mapping[str, Json]
    fingerprint: str = ""
    instance: str = ""
    token: str = ""
    health: Health = field(default_factory=lambda: Health("unknown"))
    handle: str = ""
    holds_data: bool = False
    depends_on: tuple[Address, ...] = ()
    remnant: bool = False
    since: str = ""
    url: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything of this agent on this target. Complete by definition: what can't be read in full raises ``Unreachable``.

    ``away`` are the places of several that could not be read, each with why: nothing is known of what stands there, and nothing
    is planned for it. When no place can be read, that is ``Unreachable``, too.
    """

    resources: tuple[Observed, ...]
    away: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs; ``path`` is dotted. Secrets never appear in either side, only their keyed fingerprints."""

    path: str
    before: Json
    after: Json


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a plan. ``cause`` is the rest of a sentence that begins with "because".

    ``needs`` are the ids of the steps before it; besides, no step of a ``phase`` begins before all of the earlier ones are
    done: 0 makes, 1 prunes, so that what is no longer wanted goes once everything new stands. ``expects`` is the token the
    world had when the step was planned.
    ``resource`` is what to make (create, update, replace, run); ``observed`` is what stands (update, replace, delete).
    ``fingerprint`` is the label to write on what is made. ``instance`` names the one to make where two of an address stand
    side by side during a replacement; empty elsewhere. An update without changes means: make it run, and leave alone what
    runs already.
    """

    id: str
    address: Address
    action: Action
    cause: str
    changes: tuple[Change, ...] = ()
    needs: tuple[str, ...] = ()
    expects: str = ""
    downtime: bool = False
    effect: DataEffect | None = None
    resource: Resource | None = None
    observed: Observed | None = None
    fingerprint: str = ""
    instance: str = ""
    phase: int = 0

    @property
    def place(self) -> str:
        """Where it is carried out: what stands elsewhere does not depend on how it ends."""
        source = self.resource or self.observed
        return source.place if source is not None else ""

    @property
    def spec(self) -> Mapping[str, object]:
        """Of what to make, or else of what stands; empty where neither is named."""
        source = self.resource or self.observed
        return source.spec if source is not None else {}

    def __str__(self) -> str:
        """The golden line: ``+ service/agent            because it does not exist (agent.yaml:12)``."""
        tail = "; downtime" if self.downtime else ""
        if self.effect is not None and self.effect.destroys:
            tail += "; destroys data"
        return f"{SYMBOLS[self.action]} {self.address!s:<24} because {self.cause}{tail}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered steps from observed to desired. ``hash`` covers everything a person reviewed.

    ``kept`` are the addresses that are no longer desired and stay because they hold data. ``away`` are the places that were not
    reached, with why; ``unseen`` the desired addresses there, of which nobody knows what they need.
    """

    agent: str
    target: str
    steps: tuple[Step, ...]
    unchanged: int
    hash: str
    kept: tuple[Address, ...] = ()
    away: Mapping[str, str] = field(default_factory=dict)
    unseen: tuple[Address, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps

    def __str__(self) -> str:
        """One golden line a step; the language that plans are tested in."""
        return "\n".join(str(step) for step in self.steps)
