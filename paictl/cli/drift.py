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
        _, *rest = plan_lines(plan, call.terminal)
        if plan.empty:
            where = " where somebody could look" if plan.away else ""
            return [f"{plan.agent} on {plan.target}: no drift{where}; {plan.unchanged} as released", *rest]
        title = f"{plan.agent} on {plan.target}: {len(plan.steps)} drifted; to mend {'it' if len(plan.steps) == 1 else 'them'}:"
        return [call.terminal.style(title, bold=True), *rest]

    call.terminal.result(plan_document(plan), text)
    if plan.away:
        return ExitCode.FAILED
    if plan.empty:
        return ExitCode.OK
    call.terminal.note("\nMend it with: paictl apply")
    return ExitCode.PENDING
