"""``paictl plan``: what apply would do. Writes nothing but the file that ``--out`` names."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from paictl.cli.flags import Call, delete_data, option, take_over, verb_command
from paictl.errors import ExitCode

__all__ = ["verb"]


@verb_command("plan")
@option("--out", type=click.Path(dir_okay=False), metavar="FILE", help="Keep the plan, for `paictl apply --plan FILE`.")
@option("--detailed-exitcode", is_flag=True, help="Exit 3 when there is something to do.")
@option("--allow-destroy", is_flag=True, help="Plan even when most of what stands would go.")
@option("--diff", is_flag=True, help="Look on the hosts at what each step would change there, line by line.")
@take_over
@delete_data("Plan to delete the data at this address, too.")
def verb(call: Call, out: str | None, detailed_exitcode: bool, diff: bool, **allowed: Any) -> int:
    """Show what apply would do: each step with its cause, what changes in it, downloads, downtime, data destroyed."""
    from paictl.cli.plan_view import plan_document, plan_lines
    from paictl.cli.session import open_session, watched
    from paictl.engine.intent import Options

    session = open_session(call)
    session.meet()
    options = Options(**allowed)
    with watched(call) as emit:
        desired = partial(session.desired, emit, download=out is not None)
        reconciler = session.reconciler(emit)
        plan, refusals = reconciler.foresee(desired, options)
        previews = reconciler.preview(plan) if diff else None
    document = plan_document(plan, session.manifest.warnings, refusals, previews)
    call.terminal.result(document, lambda: plan_lines(plan, call.terminal, previews=previews))
    if diff and previews is None:
        call.terminal.note(
            f"\nThe plans of driver {session.driver_name} show everything that changes without --diff, too."
        )
    for refusal in refusals:
        call.terminal.note(f"\nwarning: apply would be refused: {refusal.summary}\n   help: {refusal.help}")
    if out is not None:
        Path(out).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        call.terminal.note(f"\nKept in {out}. Carry out exactly this with: paictl apply --plan {out}")
    elif not plan.empty and not refusals:
        call.terminal.note("\nCarry it out with: paictl apply")
    if plan.away:
        return ExitCode.FAILED
    return ExitCode.PENDING if detailed_exitcode and not plan.empty else ExitCode.OK
