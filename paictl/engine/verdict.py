"""Turns an execution that did not go well into the error that a person is told, with its exit code. Called by ``reconcile``; pure."""

from __future__ import annotations

from paictl.engine.model import Plan
from paictl.engine.outcome import Outcome
from paictl.errors import Interrupted, PaictlError, PartlyApplied, Unreachable

__all__ = ["in_short", "missed", "summary", "verdict"]

_RESUME = "`paictl status` says what stands; the next apply goes on from there."


def verdict(outcome: Outcome) -> PaictlError:
    """The error for an outcome that is not complete; ``PartlyApplied`` as soon as any step was begun."""
    if outcome.signal:
        return Interrupted(f"interrupted: {summary(outcome)}", help=_RESUME, signal=outcome.signal)
    reasons = [
        f"{failure.step.action} {failure.step.address} failed: {in_short(failure.reason)}" for failure in outcome.failed
    ]
    if outcome.trouble is not None:
        reasons.append(outcome.trouble.summary)
    text = "\n".join(reasons)
    if outcome.done or outcome.failed:
        return PartlyApplied(f"{text}\n{summary(outcome)}", help=_RESUME)
    help_text = outcome.trouble.help if outcome.trouble is not None else ""
    return PaictlError(f"{text}\nnothing was changed", help=help_text)


def missed(plan: Plan) -> PaictlError:
    """The error for a plan that was carried out, as far as its places were reached."""
    reasons = "\n".join(f"{place} was not reached: {why}" for place, why in sorted(plan.away.items()))
    left = f"what is there was left alone ({len(plan.unseen)} of what is wanted)" if plan.unseen else ""
    kind = Unreachable if plan.empty else PartlyApplied
    done = "" if plan.empty else "everything else was done; "
    return kind(f"{reasons}\n{done}{left or 'what is there was left alone'}", help="Apply again when it is back.")


def in_short(reason: str) -> str:
    """A reason whose log was told where its step ended: the sentence, and the last thing that the log says."""
    sentence, *lines = reason.splitlines() or [""]
    said = [line.strip() for line in lines if line.strip()]
    return f"{sentence}: {said[-1]}" if said else sentence


def summary(outcome: Outcome) -> str:
    """``3 steps done, 1 failed (service/agent), 2 not started``."""
    done, failed, left = len(outcome.done), outcome.failed, len(outcome.not_started)
    text = f"{done} {'step' if done == 1 else 'steps'} done"
    if failed:
        text += f", {len(failed)} failed ({', '.join(str(failure.step.address) for failure in failed)})"
    return f"{text}, {left} not started"
