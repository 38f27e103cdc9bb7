"""``paictl drift``: what stands against the last release, whatever the manifest says by now."""

from __future__ import annotations

from paictl.cli.flags import Call, verb_command
from paictl.errors import ExitCode

__all__ = ["verb"]


@verb_command("drift")
def verb(call: Call) -> int:
    """Show what differs on the target from the last release. Exit code 3 when something does; writes nothing."""
    from paictl.cli.plan_view import plan_document, plan_lines
    from paictl.cli.session import open_session

    session = open_session(call)
    plan = session.reconciler().drift()

    def text() -> list[str]:
        if plan.empty:
            return [f"{plan.agent} on {plan.target}: no drift; {plan.unchanged} as released"]
        _, *rest = plan_lines(plan, call.terminal)
        title = f"{plan.agent} on {plan.target}: {len(plan.steps)} drifted; to mend {'it' if len(plan.steps) == 1 else 'them'}:"
        return [call.terminal.style(title, bold=True), *rest]

    call.terminal.result(plan_document(plan), text)
    if plan.empty:
        return ExitCode.OK
    call.terminal.note("\nMend it with: paictl apply")
    return ExitCode.PENDING
