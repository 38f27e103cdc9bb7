"""``paictl destroy``: removes what apply made; what the agent knows stays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from paictl.cli.flags import Call, delete_data, take_over, verb_command

if TYPE_CHECKING:
    from paictl.cli.changes import Change
    from paictl.engine.driver import Scope
    from paictl.engine.outcome import Applied
    from paictl.engine.review import Consent
    from paictl.events import Emit

__all__ = ["verb"]


@verb_command("destroy")
@take_over
@delete_data("Delete the data at this address, too.")
def verb(call: Call, **allowed: Any) -> None:
    """Remove what paictl made on the target, in the reverse order. Data stays unless --delete-data names it."""
    from paictl.cli.changes import carry_out

    carry_out(call, partial(_prepare, call, allowed))


def _prepare(call: Call, allowed: Mapping[str, Any]) -> Change:
    from paictl.cli.changes import Change
    from paictl.cli.session import open_session
    from paictl.engine.intent import Options

    session = open_session(call)
    session.meet()

    def act(emit: Emit, consent: Consent) -> Applied:
        return session.reconciler(emit).destroy(Options(**allowed), consent=consent)

    question = f"Remove {session.scope.agent} from {session.scope.target}?"
    return Change(question, act, partial(_tell, session.scope))


def _tell(scope: Scope, applied: Applied) -> tuple[Mapping[str, object], list[str]]:
    from paictl.cli.changes import applied_document, done_sentence

    if applied.plan.empty:
        return applied_document(applied), [f"{scope.agent} on {scope.target}: there was nothing to remove"]
    lines = [f"{scope.agent} on {scope.target}: removed ({done_sentence(applied)})"]
    if applied.plan.kept:
        lines.append("  What the agent knows and is was kept; the next apply takes it up again.")
    return applied_document(applied), lines
