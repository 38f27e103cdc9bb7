"""What came of it: how a plan's execution ended, what stands now, and which releases there were. Pure values for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from paictl.engine.intent import Declared
from paictl.engine.model import Address, Health, Plan, Resource, Step
from paictl.errors import PaictlError

__all__ = ["Applied", "Failure", "Outcome", "Release", "ResourceStatus", "Standing", "Status"]


Standing = Literal["running", "starting", "unhealthy", "done", "missing", "kept", "leftover", "foreign", "away"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that did not succeed, and why (a sentence, then the last log lines where there are some)."""

    step: Step
    reason: str
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended. Every step of the plan is in exactly one of the three.

    ``signal`` is what interrupted it, or 0; ``trouble`` what stopped it besides its steps: the journal can't be written.
    """

    done: tuple[Step, ...] = ()
    failed: tuple[Failure, ...] = ()
    not_started: tuple[Step, ...] = ()
    signal: int = 0
    trouble: PaictlError | None = None

    @property
    def complete(self) -> bool:
        """Whether every step was done and written down."""
        return not self.failed and not self.not_started and self.trouble is None


@dataclass(frozen=True, slots=True)
class Release:
    """One successful apply, with everything needed to go back to it. ``when`` is ISO 8601 in UTC."""

    number: int
    driver: str
    when: str
    who: str
    verb: str
    resources: tuple[Resource, ...]
    manifest: str = ""
    lock: str = ""
    runtime: Mapping[str, str] = field(default_factory=dict)
    declared: Declared = field(default_factory=Declared)


@dataclass(frozen=True, slots=True)
class Applied:
    """The end of a verb that went well: the plan that was carried out, and the release that stands now (0 for none)."""

    plan: Plan
    release: int
    outcome: Outcome = field(default_factory=Outcome)


@dataclass(frozen=True, slots=True)
class ResourceStatus:
    """One thing of the last release, or one that stands beside it.

    ``state``: ``running`` (or standing, for what doesn't run), ``starting``, ``unhealthy``, ``done`` (a one-shot), ``missing``,
    ``kept`` (no longer desired, holds data), ``leftover`` (no longer desired), ``foreign`` or ``away`` (on a machine that was not
    reached). ``service``: it has a health probe,
    or, before there is a release that says so, it runs.
    """

    address: Address
    state: Standing
    service: bool
    health: Health
    since: str = ""
    url: str = ""
    handle: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What stands against the last release. ``ready``: everything of it stands, and what runs is healthy.

    ``unfinished`` are the addresses at which a run begun since was interrupted or failed, ``failures`` why (where it could still
    say so). ``begun``: there is no release, but an apply has made something on the way to the first one. ``working`` describes
    who works on it right now; empty when nobody does.
    """

    release: int
    ready: bool
    resources: tuple[ResourceStatus, ...]
    unfinished: tuple[Address, ...] = ()
    failures: Mapping[Address, str] = field(default_factory=dict)
    begun: bool = False
    working: str = ""
