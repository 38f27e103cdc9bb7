"""Between planning and doing: what was reviewed is what will be done, or nothing is. Called by ``reconcile``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from paictl.engine.model import Observation, Plan, Step
from paictl.errors import Refused, StalePlan

__all__ = ["Consent", "Look", "agree", "expect"]

Consent = Callable[[Plan], bool]
"""Shows the plan and asks. None where a verb takes it: nobody is asked (``--yes``)."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the target: what stands, and the plan that follows from it."""

    observation: Observation
    plan: Plan


def expect(plan: Plan, reviewed: str) -> None:
    """Refuse a plan other than the one of that hash; any plan will do when there is no hash."""
    if reviewed and plan.hash != reviewed:
        now = str(plan) or "nothing to do"
        raise StalePlan(
            f"the plan that was reviewed ({reviewed}) is not the plan of now ({plan.hash}):\n{now}",
            help="Review the new plan, and apply that one.",
        )


def agree(first: Look, consent: Consent | None, look: Callable[[], Look]) -> Look:
    """Ask, and look again: people take their time, and the world moves meanwhile. Returns the look as of now."""
    if first.plan.empty or consent is None:
        return first
    if not consent(first.plan):
        raise Refused("not confirmed; nothing was changed")
    now = look()
    if now.plan.hash != first.plan.hash and not _no_more(first.plan, now.plan):
        raise StalePlan(
            f"the plan changed while it was being reviewed:\n{_difference(first.plan, now.plan)}",
            help="Review the new plan, and apply that one.",
        )
    return now


def _no_more(agreed: Plan, now: Plan) -> bool:
    """Whether everything that is left to do was agreed to: what came up by itself meanwhile needs no second consent."""
    known = {step.id: _deed(step) for step in agreed.steps}
    return now.kept == agreed.kept and all(known.get(step.id) == _deed(step) for step in now.steps)


def _deed(step: Step) -> object:
    """What a step does, and to what; why is another matter."""
    return step.action, step.changes, step.expects, step.downtime, step.effect, step.fingerprint, step.instance


def _difference(before: Plan, now: Plan) -> str:
    was, is_ = str(before).splitlines(), str(now).splitlines()
    lines = [f"no longer: {line}" for line in was if line not in is_] + [
        f"now:       {line}" for line in is_ if line not in was
    ]
    return "\n".join(lines) or "the same steps, with other values"
