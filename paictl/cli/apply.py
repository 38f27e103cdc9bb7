"""``paictl apply``: plan, consent, execute, gate on health and continuity, record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from paictl.cli.flags import Call, delete_data, option, take_over, trust_host_keys, verb_command
from paictl.errors import Refused, UsageError

if TYPE_CHECKING:
    from paictl.cli.changes import Change
    from paictl.cli.session import Session
    from paictl.engine.driver import Scope
    from paictl.engine.model import Plan
    from paictl.engine.outcome import Applied
    from paictl.engine.review import Consent
    from paictl.events import Emit

__all__ = ["verb"]

_REVIEW = "Say --yes, or review `paictl plan --out FILE` first and run `paictl apply --plan FILE`."


@verb_command("apply")
@option(
    "--plan",
    "plan_file",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Carry out exactly the plan kept there.",
)
@option("--plan-hash", metavar="HASH", help="Carry out the plan with this hash, or nothing.")
@option("--rollback-on-failure", is_flag=True, help="Go back to the release before when something fails.")
@option("--allow-destroy", is_flag=True, help="Go on even when most of what stands would go.")
@trust_host_keys
@take_over
@delete_data("Let the data at this address be deleted.")
def verb(call: Call, plan_file: str | None, plan_hash: str | None, trust_host_keys: bool, **allowed: Any) -> None:
    """Make the manifest true on its target: show the plan, ask, carry it out, wait until everything is healthy.

    Applied twice, the second time does nothing. Data is never deleted unless --delete-data names it.
    """
    from paictl.cli.changes import carry_out

    carry_out(call, partial(_prepare, call, (plan_file, plan_hash), trust_host_keys, allowed))


def _prepare(call: Call, reviewed: tuple[str | None, str | None], trust: bool, allowed: Mapping[str, Any]) -> Change:
    from paictl.cli.changes import Change
    from paictl.cli.logins import Pinning
    from paictl.cli.session import open_session
    from paictl.engine.intent import Options

    session = open_session(call)
    session.meet(Pinning(trust, locked=call.flags.locked))
    expect = _expected(*reviewed, session.scope)
    options = Options(expect=expect, **allowed)

    def act(emit: Emit, consent: Consent) -> Applied:
        def agreed(plan: Plan) -> bool:
            agrees = consent(plan)
            # Before the first step: a run that is killed must go on with what it began with.
            session.keep_lock()
            return agrees

        asked, gate = session.guarded(emit, agreed)
        desired = partial(session.desired, emit, download=True)
        applied = session.reconciler(emit).apply(desired, options, consent=asked, gate=gate)
        session.keep_lock()
        return applied

    return Change(
        f"Apply this to {session.scope.target}?", act, partial(_tell, session), reviewed=bool(expect), instead=_REVIEW
    )


def _tell(session: Session, applied: Applied) -> tuple[Mapping[str, object], list[str]]:
    from paictl.cli.changes import applied_document, done_sentence

    scope = session.scope
    url = session.url()
    lines = [
        f"{scope.agent} on {scope.target}: nothing to do, release {applied.release} stands"
        if applied.plan.empty
        else f"{scope.agent} on {scope.target}: release {applied.release} stands ({done_sentence(applied)})"
    ]
    if session.driver_name != "fake":
        lines += [f"  address  {url or 'paictl open'}", '  talk     paictl chat "Hello"']
    return {**applied_document(applied), "url": url}, lines


def _expected(plan_file: str | None, plan_hash: str | None, scope: Scope) -> str:
    """The hash of the plan that was reviewed, or an empty text."""
    if plan_file is None:
        return plan_hash or ""
    if plan_hash is not None:
        raise UsageError("--plan and --plan-hash say the same twice", help="Give one of them.")
    try:
        kept = json.loads(Path(plan_file).read_text(encoding="utf-8"))
        of, digest = (kept["agent"], kept["target"]), str(kept["hash"])
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{plan_file} is not a plan", help="`paictl plan --out FILE` writes one.") from None
    if of != (scope.agent, scope.target):
        raise Refused(
            f"{plan_file} is a plan for {of[0]} on {of[1]}, not for {scope.agent} on {scope.target}",
            help="Make a new one with `paictl plan --out FILE`.",
        )
    return digest
