"""Going back after a change that failed or was not proven: an ordinary plan to the release that stood. Called by ``reconcile``."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from paictl.engine.executor import execute
from paictl.engine.intent import Desired, Options
from paictl.engine.ledger import Ledger
from paictl.engine.outcome import Outcome, Release
from paictl.engine.planner import Question, plan
from paictl.engine.setting import Setting
from paictl.engine.verdict import summary, verdict
from paictl.errors import Interrupted, PaictlError, PartlyApplied

__all__ = ["desired_by", "is_owed", "undo"]


def desired_by(release: Release) -> Desired:
    """What a release asks for."""
    return Desired(tuple(release.resources), release.manifest, release.lock, release.runtime, release.declared)


def is_owed(outcome: Outcome, failure: PaictlError, options: Options) -> bool:
    """What was all done and then not proven is always undone; what failed half-way only when asked, and never on Ctrl-C."""
    return outcome.complete or (options.rollback_on_failure and not isinstance(failure, Interrupted))


def undo(setting: Setting, ledger: Ledger, options: Options, failure: PaictlError) -> NoReturn:
    """Return to the release that stood, healthy, and raise ``PartlyApplied``: exit 5 tells that it is not what was asked for."""
    number = ledger.inventory.release
    release = setting.place.releases.find(number) if number else None
    if release is None:
        raise PartlyApplied(
            f"{failure.summary}\nthere is no earlier release to go back to; what was made stands", help=failure.help
        ) from failure
    try:
        _return_to(setting, ledger, options, release)
    except Interrupted:
        raise
    except PaictlError as second:
        raise PartlyApplied(
            f"{failure.summary}\nand going back to release {number} failed too: {second.summary}",
            help=second.help or failure.help,
        ) from failure
    raise PartlyApplied(
        f"{failure.summary}\nwent back to release {number}, which is healthy", help=failure.help
    ) from failure


def _return_to(setting: Setting, ledger: Ledger, options: Options, release: Release) -> None:
    desired = desired_by(release)
    observation = setting.driver.observe(setting.scope)
    # What the failed change had made may go, however much of what stands that is.
    allowed = replace(options, allow_destroy=True, expect="")
    steps = plan(Question(setting.scope, desired.resources, observation, ledger.inventory), allowed)
    outcome = execute(steps, setting.crew(ledger))
    if not outcome.complete:
        raise verdict(outcome)
    ledger.record(desired, steps, observation, setting.stamp(f"undo, {summary(outcome)}"))
