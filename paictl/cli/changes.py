"""How a verb that changes something runs: the plan is shown, consent is asked, events are told, the end is reported.

Shared by apply, destroy, rollback and adopt. What is changed, and how, is the engine's alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from paictl.cli.console.failure import as_error, error_document, exit_code
from paictl.cli.console.progress import JsonLines, Listener, listen
from paictl.cli.flags import Call
from paictl.cli.plan_view import plan_document, plan_lines
from paictl.engine.model import Action, Plan
from paictl.engine.outcome import Applied
from paictl.engine.review import Consent
from paictl.errors import ExitCode, Refused
from paictl.events import Emit, Event

__all__ = ["Change", "applied_document", "carry_out", "done_sentence", "require_consent"]

_PAST: Mapping[Action, str] = {
    "create": "created",
    "update": "updated",
    "replace": "replaced",
    "delete": "deleted",
    "run": "run",
}


@dataclass(frozen=True, slots=True)
class Change:
    """What is about to be done. ``question`` asks for it; ``reviewed``: exactly this plan was seen before (``--plan``).

    ``instead`` says how to consent where nobody can be asked.
    """

    question: str
    act: Callable[[Emit, Consent], Applied]
    tell: Callable[[Applied], tuple[Mapping[str, object], list[str]]]
    reviewed: bool = False
    instead: str = ""


def carry_out(call: Call, prepare: Callable[[], Change]) -> None:
    """Run the change that is prepared, and tell its end as text or as a document.

    Under -o json, the stream of lines begins before anything can go wrong, and its last line is the result in any case.
    """
    if call.terminal.output != "json":
        change = prepare()
        with listen(call.terminal) as listener:
            applied = change.act(listener, _consent(call, change, listener))
        document, lines = change.tell(applied)
        call.terminal.result({"format": "1", **document}, lambda: lines)
        return
    stream = JsonLines(call.terminal)
    try:
        change = prepare()
        applied = change.act(stream, _consent(call, change, stream))
    except (Exception, KeyboardInterrupt) as raised:
        error = as_error(raised)
        told = error_document(error, error.code) if error else {}
        stream.result({"ok": False, "exit_code": exit_code(error) if error else int(ExitCode.BUG), **told})
        raise
    stream.result({"ok": True, **change.tell(applied)[0]})


def _consent(call: Call, change: Change, listener: Listener) -> Consent:
    def consent(plan: Plan) -> bool:
        if isinstance(listener, JsonLines):
            listener(Event("plan", data=plan_document(plan)))
        with listener.pause():
            text = "\n".join(plan_lines(plan, call.terminal, call.terminal.err)) + "\n"
            asks = not (change.reviewed or call.flags.yes) and call.terminal.can_ask
            (call.terminal.alert if asks else call.terminal.note)(text)
            if not change.reviewed:
                require_consent(call, change.question, instead=change.instead)
        return True

    return consent


def require_consent(call: Call, question: str, *, instead: str = "") -> None:
    """Go on after a yes; raise ``Refused`` after a no, or when nobody is there to ask."""
    if call.flags.yes:
        return
    if not call.terminal.can_ask or "-" in call.flags.files:
        raise Refused(
            "nobody is there to consent", help=instead or "Say --yes, or run it on a terminal and answer the question."
        )
    if not call.terminal.ask(question):
        raise Refused("you said no; nothing was changed", help="`paictl plan` shows it again.")


def applied_document(applied: Applied) -> dict[str, object]:
    """The documented JSON of a result."""
    counts = Counter(step.action for step in applied.outcome.done)
    return {
        "agent": applied.plan.agent,
        "target": applied.plan.target,
        "release": applied.release,
        "hash": applied.plan.hash,
        "summary": {action: counts[action] for action in _PAST} | {"unchanged": applied.plan.unchanged},
        "kept": [str(address) for address in applied.plan.kept],
    }


def done_sentence(applied: Applied) -> str:
    """``4 created, 1 updated, 2 unchanged``."""
    counts = Counter(step.action for step in applied.plan.steps)
    done = [f"{counts[action]} {past}" for action, past in _PAST.items() if counts[action]]
    return ", ".join([*done, f"{applied.plan.unchanged} unchanged"] if applied.plan.unchanged else done)
