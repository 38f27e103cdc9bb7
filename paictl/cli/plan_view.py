"""A plan as a person reads it and as programs parse it. Called by plan, apply, drift, rollback and destroy; pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from paictl.cli.console.diff import compared, diff_lines
from paictl.cli.console.failure import diagnostic_document
from paictl.cli.console.page import Page
from paictl.cli.console.table import cell_width, wrap
from paictl.cli.console.terminal import Terminal
from paictl.cli.preview_view import preview_document, preview_lines
from paictl.engine.causes import ABSENT, DESTROYED
from paictl.engine.model import Action, Address, Change, DataEffect, Plan, Step
from paictl.engine.preview import Preview
from paictl.errors import Diagnostic, Refused
from paictl.sizes import byte_count

__all__ = ["plan_document", "plan_lines", "summary_sentence"]

_COLORS: Mapping[Action, str] = {
    "create": "green",
    "update": "yellow",
    "replace": "magenta",
    "delete": "red",
    "run": "cyan",
}
_ACTIONS = tuple(_COLORS)
# A value of so many characters is told in a line.
_SHORT = 60

Previews = Mapping[Address, Preview]
"""What is told of steps beforehand."""


def plan_document(
    plan: Plan,
    warnings: Sequence[Diagnostic] = (),
    refusals: Sequence[Refused] = (),
    previews: Previews | None = None,
) -> dict[str, object]:
    """The documented JSON of a plan; ``warnings`` are those of the manifest, ``refusals`` why apply would not do it now.

    With ``previews``, each step has its ``preview``: null where nothing is told of it.
    """
    counts = Counter(step.action for step in plan.steps)
    return {
        "format": "1",
        "agent": plan.agent,
        "target": plan.target,
        "hash": plan.hash,
        "summary": {action: counts[action] for action in _ACTIONS} | {"unchanged": plan.unchanged},
        "steps": [_step_document(step) | _preview_document(step, previews) for step in plan.steps],
        "kept": [str(address) for address in plan.kept],
        "away": dict(plan.away),
        "unseen": [str(address) for address in plan.unseen],
        "diagnostics": [diagnostic_document(warning) for warning in warnings],
        "refusals": [{"code": one.code, "summary": one.summary, "help": one.help} for one in refusals],
    }


def _step_document(step: Step) -> dict[str, object]:
    effect = step.effect or DataEffect()
    origin = step.resource.origin if step.resource else None
    return {
        "id": step.id,
        "address": str(step.address),
        "action": step.action,
        "cause": step.cause,
        "origin": str(origin) if origin else None,
        "changes": [{"path": change.path, "before": change.before, "after": change.after} for change in step.changes],
        "downtime": step.downtime,
        "data": {
            "download_bytes": effect.download_bytes,
            "reembed": effect.reembed,
            "egress": list(effect.egress),
            "destroys": effect.destroys,
        },
    }


def _preview_document(step: Step, previews: Previews | None) -> dict[str, object]:
    if previews is None:
        return {}
    preview = previews.get(step.address)
    return {"preview": preview_document(preview) if preview else None}


def summary_sentence(plan: Plan) -> str:
    """``3 to create, 1 to update; 5 stay as they are``."""
    counts = Counter(step.action for step in plan.steps)
    todo = ", ".join(f"{counts[action]} to {action}" for action in _ACTIONS if counts[action])
    stay = f"{plan.unchanged} {'stays' if plan.unchanged == 1 else 'stay'} unchanged"
    return f"{todo}; {stay}" if todo and plan.unchanged else todo or f"nothing to do; {stay}"


def plan_lines(
    plan: Plan, terminal: Terminal, stream: TextIO | None = None, previews: Previews | None = None
) -> list[str]:
    """A headline, a line for each step with its cause, what changes in it, and what it does to data and network.

    ``previews``: what is known of steps besides; each stands under its own. Made for stdout, or for the stream that is named.
    """
    page = Page(terminal, stream or terminal.out, terminal.verbosity > 0)
    head = f"{plan.agent} on {plan.target}: {summary_sentence(plan)}"
    lines = [page.style(line, bold=True) for line in wrap(head, page.width, "  ")]
    if not plan.steps:
        return [*lines, *_away(plan, page)]
    action = max(len(step.action) for step in plan.steps)
    address = max(len(str(step.address)) for step in plan.steps)
    lines.append("")
    for step in plan.steps:
        preview = (previews or {}).get(step.address)
        lines += _step_lines(step, page, action, address, texts=preview is None or not preview.differs)
        if preview is not None:
            lines += preview_lines(preview, page)
    effects = [line for effect in _effects(plan) for line in wrap(effect, page.width, "  ")]
    return [*lines, "", *effects, *_away(plan, page)] if effects else [*lines, *_away(plan, page)]


def _away(plan: Plan, page: Page) -> list[str]:
    """What nobody could look at."""
    reasons = sorted(plan.away.items())
    # A reason names its place, unless it is about something on it.
    told = [f"Not reached: {why if why.startswith(f'{place} ') else f'{place}: {why}'}" for place, why in reasons]
    told += [f"Left alone there: {len(plan.unseen)} of what is wanted."] if plan.unseen else []
    lines = [line for one in told for line in wrap(one, page.width, "  ")]
    return ["", *(page.style(line, fg="red") for line in lines)] if lines else []


def _step_lines(step: Step, page: Page, action: int, address: int, *, texts: bool) -> Iterator[str]:
    """``texts``: with the lines that differ in long values; else those stand in the step's preview."""
    verb = page.style(f"{step.action:<{action}}", fg=_COLORS[step.action])
    yield from _beside(f"  {verb}  {step.address!s:<{address}}", _cause(step), page.width)
    changes = [change for change in step.changes if texts or not _is_text(change, page)]
    shown = changes if page.detail else changes[:8]
    for change in shown:
        yield from _change_lines(change, page)
    if len(changes) > len(shown):
        yield f"{' ' * 6}and {len(changes) - len(shown)} more changes; -v shows them"


def _beside(lead: str, text: str, width: int) -> Iterator[str]:
    """The text in a column of its own where there is room for one, else close behind the lead, else below it."""
    room = width - cell_width(lead) - 2
    if not width or cell_width(text) <= room or room >= 24:
        first, *rest = wrap(text, room if width else 0)
        yield f"{lead}  {first}".rstrip()
        yield from (" " * (cell_width(lead) + 2) + line for line in rest)
    elif cell_width(lead.rstrip()) + 2 + cell_width(text) <= width:
        yield f"{lead.rstrip()}  {text}"
    else:
        yield lead.rstrip()
        yield from (" " * 6 + line for line in wrap(text, width - 6))


def _cause(step: Step) -> str:
    """Why, without what the action says already: what is created does not exist, what is destroyed goes with the rest."""
    cause = step.cause
    for known in (ABSENT, DESTROYED):
        if cause.startswith(known):
            cause = cause.removeprefix(known).strip(" ()")
    downtime = "with downtime" if step.downtime else ""
    return ", ".join(part for part in (cause, downtime) if part)


def _change_lines(change: Change, page: Page) -> Iterator[str]:
    before, after = _value(change.before), _value(change.after)
    if change.before is None or change.after is None:
        parts = [f"+ {_cut(after, page)}" if change.before is None else f"- {_cut(before, page)}"]
    elif _is_text(change, page):
        # Side by side, two long texts are cut off before they differ.
        yield from _indented(f"{change.path}:", 6, page)
        yield from diff_lines(compared(before, after), page, " " * 8)
        return
    else:
        parts = [before, f"→ {after}"]
    line = f"{' ' * 6}{change.path}: {' '.join(parts)}"
    if not page.width or cell_width(line) <= page.width:
        yield line
        return
    yield from _indented(f"{change.path}:", 6, page)
    for part in parts:
        yield from _indented(part, 8, page)


def _is_text(change: Change, page: Page) -> bool:
    """Whether it is shown by the lines that differ: it is too long to stand beside what takes its place."""
    before, after = _value(change.before), _value(change.after)
    long = max(len(before), len(after)) > _limit(page) or "\n" in before + after
    return long and change.before is not None and change.after is not None


def _indented(text: str, columns: int, page: Page) -> Iterator[str]:
    yield from (" " * columns + piece for piece in wrap(text, page.width - columns if page.width else 0, "  "))


def _value(value: object) -> str:
    """As a text: a small one in one line, what is nested and long in many, so that it can be compared."""
    if isinstance(value, str):
        return value.strip()
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHORT else json.dumps(value, ensure_ascii=False, default=str, indent=2)


def _cut(text: str, page: Page) -> str:
    line, limit = " ".join(text.split()), 10_000 if page.detail else _limit(page)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _limit(page: Page) -> int:
    return _SHORT if page.wide else 28


def _effects(plan: Plan) -> Iterator[str]:
    effects = [step.effect for step in plan.steps if step.effect]
    download = sum(effect.download_bytes for effect in effects)
    if download:
        yield f"Downloads {byte_count(download)}."
    reembed = sum(effect.reembed for effect in effects)
    if reembed:
        yield f"Embeds {reembed:,} memories again."
    egress = sorted({host for effect in effects for host in effect.egress})
    if egress:
        yield f"Newly reached: {', '.join(egress)}."
    yield from _listed("Interrupts", [step.address for step in plan.steps if step.downtime])
    yield from _listed("Keeps, for their data", plan.kept)
    destroyed = [step.address for step in plan.steps if step.effect and step.effect.destroys]
    yield from _listed("DESTROYS THE DATA of", destroyed)


def _listed(what: str, addresses: Sequence[Address]) -> Iterator[str]:
    if addresses:
        yield f"{what}: {', '.join(map(str, addresses))}."
