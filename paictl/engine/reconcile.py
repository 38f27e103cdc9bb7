"""The story of every verb that changes a target; called by the command line, decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paictl.clock import Clock, SystemClock
from paictl.engine.driver import Driver, Scope, SecretReader
from paictl.engine.intent import NOTHING_ALLOWED, Desired, Options
from paictl.engine.model import Observed, Plan
from paictl.engine.outcome import Applied, Release, Status
from paictl.events import Emit, ignore

__all__ = ["Compile", "Consent", "Gate", "Reconciler"]

Compile = Callable[[], Desired]
"""Makes the desired resources; called under the lock, so that what is applied is what the files say then."""

Consent = Callable[[Plan], bool]
"""Shows the plan and asks. None where a verb takes it: nobody is asked (``--yes``)."""

Gate = Callable[[], None]
"""Runs after everything is healthy (the continuity checks); raises ``PaictlError`` to have the change undone."""


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """One agent on one target, through one driver.

    ``state_dir`` is the folder above all agents (``places.state_home()`` or ``--state-dir``); ``who`` is told to whoever
    finds the lock held and is written into releases.
    """

    scope: Scope
    driver: Driver
    state_dir: Path
    secrets: SecretReader
    who: str
    emit: Emit = ignore
    clock: Clock = field(default_factory=SystemClock)
    lock_timeout: float = 0.0

    def plan(self, compile_: Compile, options: Options = NOTHING_ALLOWED) -> Plan:
        """What apply would do now. Writes nothing, takes no lock."""
        raise NotImplementedError

    def apply(
        self,
        compile_: Compile,
        options: Options = NOTHING_ALLOWED,
        *,
        consent: Consent | None = None,
        gate: Gate | None = None,
    ) -> Applied:
        """Make it so. Raises ``Refused`` and its kind before any change, ``PartlyApplied`` or ``Interrupted`` after."""
        raise NotImplementedError

    def destroy(self, options: Options = NOTHING_ALLOWED, *, consent: Consent | None = None) -> Applied:
        """Remove everything of ours in the reverse order; data stays unless its address is in ``options.delete_data``."""
        raise NotImplementedError

    def rollback(
        self,
        number: int | None = None,
        options: Options = NOTHING_ALLOWED,
        *,
        consent: Consent | None = None,
        gate: Gate | None = None,
    ) -> Applied:
        """Go to an earlier release (the one before the current one by default) by an ordinary plan; it becomes a new release."""
        raise NotImplementedError

    def plan_rollback(self, number: int | None = None, options: Options = NOTHING_ALLOWED) -> Plan:
        """What ``rollback`` would do now."""
        raise NotImplementedError

    def plan_destroy(self, options: Options = NOTHING_ALLOWED) -> Plan:
        """What ``destroy`` would do now."""
        raise NotImplementedError

    def drift(self) -> Plan:
        """What differs from the last release; an empty plan when nothing does. Refuses nothing, writes nothing."""
        raise NotImplementedError

    def adoptable(self, compile_: Compile) -> tuple[Observed, ...]:
        """What stands at desired addresses and is not ours."""
        raise NotImplementedError

    def adopt(
        self,
        compile_: Compile,
        addresses: Sequence[str],
        *,
        consent: Callable[[Sequence[Observed]], bool] | None = None,
    ) -> tuple[Observed, ...]:
        """Mark what stands at these addresses (short form) as ours; shown first, and nothing else is changed."""
        raise NotImplementedError

    def status(self) -> Status:
        """What stands now, against the last release. Writes nothing."""
        raise NotImplementedError

    def history(self) -> tuple[Release, ...]:
        """The kept releases, the oldest first."""
        raise NotImplementedError
