"""The story that every verb which changes a target tells; called by ``reconciler``, decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from paictl.engine import causes, ownership, review, undo
from paictl.engine.executor import execute
from paictl.engine.intent import Desired, Options
from paictl.engine.inventory import Inventory
from paictl.engine.model import Plan
from paictl.engine.outcome import Applied, Outcome
from paictl.engine.planner import Question, plan
from paictl.engine.review import Look
from paictl.engine.setting import Setting
from paictl.engine.verdict import missed, verdict
from paictl.errors import PaictlError

__all__ = ["Errand", "Gate", "reconcile"]

Gate = Callable[[Desired], None]
"""Runs after everything is healthy (the continuity checks), told what stands; raises ``PaictlError`` to have the change undone."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What one run is for. ``compile`` is called under the lock, so that what is applied is what the files say then."""

    verb: str
    compile: Callable[[Inventory], Desired]
    options: Options
    consent: review.Consent | None = None
    gate: Gate | None = None
    removal: str = causes.UNWANTED


def reconcile(setting: Setting, errand: Errand) -> Applied:
    """Hold the lock; settle what a crash left in the journal; compile; observe; plan; ask; execute; record."""
    with setting.hold_lock(errand.verb) as ledger:
        ownership.check(setting.scope, ledger.inventory.source, setting.source, take_over=errand.options.take_over)
        desired = errand.compile(ledger.inventory)

        def look() -> Look:
            observation = setting.driver.observe(setting.scope)
            question = Question(setting.scope, desired.resources, observation, ledger.inventory, errand.removal)
            return Look(observation, plan(question, errand.options))

        found = look()
        review.expect(found.plan, errand.options.expect)
        if desired.blueprint is not None and not found.plan.empty:
            setting.driver.preflight(desired.blueprint, found.observation)
        found = review.agree(found, errand.consent, look)

        outcome = execute(found.plan, setting.crew(ledger))
        try:
            _prove(found.plan, outcome, partial(errand.gate, desired) if errand.gate else None)
        except PaictlError as failure:
            if undo.is_owed(outcome, failure, errand.options):
                undo.undo(setting, ledger, errand.options, failure)
            raise
        if found.plan.away:
            raise missed(found.plan)
        release = ledger.record(desired, found.plan, found.observation, setting.stamp(errand.verb))
        return Applied(found.plan, release, outcome)


def _prove(done: Plan, outcome: Outcome, gate: Callable[[], None] | None) -> None:
    """Raise when a step was not done, or when what was done does not pass the gate."""
    if not outcome.complete:
        raise verdict(outcome)
    # An agent of which a part is away can't be proven whole; it is at the apply that finds that part.
    if gate is not None and not done.empty and not done.away:
        gate()
