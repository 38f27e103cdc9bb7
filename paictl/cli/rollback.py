"""``paictl rollback``: back to an earlier release, by an ordinary plan."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from paictl.cli.flags import Call, delete_data, option, take_over, verb_command

if TYPE_CHECKING:
    from paictl.cli.changes import Change
    from paictl.engine.driver import Scope
    from paictl.engine.outcome import Applied
    from paictl.engine.review import Consent
    from paictl.events import Emit

__all__ = ["verb"]


@verb_command("rollback", takes_file=False)
@click.argument("release", type=click.IntRange(min=1), required=False, metavar="[N]")
@option("--allow-destroy", is_flag=True, help="Go on even when most of what stands would go.")
@take_over
@delete_data("Let the data at this address be deleted.")
def verb(call: Call, release: int | None, **allowed: Any) -> None:
    """Go back to release N of `paictl history`, or to the one before the current one. It becomes a new release.

    The manifest is left as it is: the next apply follows it again.
    """
    from paictl.cli.changes import carry_out

    carry_out(call, partial(_prepare, call, release, allowed))


def _prepare(call: Call, release: int | None, allowed: Mapping[str, Any]) -> Change:
    from paictl.cli.changes import Change
    from paictl.cli.session import open_session
    from paictl.engine.intent import Options

    session = open_session(call)
    session.meet()

    def act(emit: Emit, consent: Consent) -> Applied:
        asked, gate = session.guarded(emit, consent)
        return session.reconciler(emit).rollback(release, Options(**allowed), consent=asked, gate=gate)

    question = (
        f"Go back to release {release} on {session.scope.target}?" if release else "Go back to the release before?"
    )
    return Change(question, act, partial(_tell, session.scope))


def _tell(scope: Scope, applied: Applied) -> tuple[Mapping[str, object], list[str]]:
    from paictl.cli.changes import applied_document, done_sentence

    where = f"{scope.agent} on {scope.target}"
    if applied.plan.empty:
        return applied_document(applied), [f"{where}: nothing to do, release {applied.release} stands"]
    lines = [
        f"{where}: release {applied.release} stands ({done_sentence(applied)})",
        "  agent.yaml was not changed; the next apply follows it again.",
    ]
    return applied_document(applied), lines
