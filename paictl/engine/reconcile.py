"""The story that every verb which changes a target tells; called by ``reconciler``, decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from paictl.engine import causes, review, undo
from paictl.engine.executor import execute
from paictl.engine.intent import Desired, Options
from paictl.engine.inventory import Inventory
from paictl.engine.model import Plan
from paictl.engine.outcome import Applied
from paictl.engine.planner import Question, plan
from paictl.engine.setting import Setting
from paictl.engine.verdict import verdict
from paictl.errors import Interrupted, PaictlError

__all__ = ["Errand", "Gate", "reconcile"]

Gate = Callable[[], None]
"""Runs after everything is healthy (the continuity checks); raises ``PaictlError`` to have the change undone."""


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
        desired = errand.compile(ledger.inventory)
        observation = setting.driver.observe(setting.scope)

        def look() -> Plan:
            question = Question(setting.scope, desired.resources, observation, ledger.inventory, errand.removal)
            return plan(question, errand.options)

        def look_again() -> Plan:
            nonlocal observation
            observation = setting.driver.observe(setting.scope)
            return look()

        steps = look()
        review.expect(steps, errand.options.expect)
        if desired.blueprint is not None and not steps.empty:
            setting.driver.preflight(desired.blueprint, observation)
        steps = review.agree(steps, errand.consent, look_again)
        outcome = execute(steps, setting.crew(ledger))
        try:
            if not outcome.complete:
                raise verdict(outcome)
            if errand.gate is not None and not steps.empty:
                errand.gate()
        except PaictlError as failure:
            unproven = outcome.complete
            if unproven or (errand.options.rollback_on_failure and not isinstance(failure, Interrupted)):
                undo.undo(setting, ledger, errand.options, failure)
            raise
        release = ledger.record(desired, steps, observation, setting.stamp(errand.verb))
        return Applied(steps, release, outcome)
