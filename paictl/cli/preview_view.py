"""What a step would change, task by task, as a person reads it and as programs parse it. Called by ``plan_view``; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paictl.cli.console.page import Page
from paictl.cli.console.table import cell_width, wrap
from paictl.engine.preview import Difference, Preview, TaskPreview

__all__ = ["preview_document", "preview_lines"]

_INDENT = " " * 6
_COLORS: Mapping[str, str] = {"+": "green", "-": "red", "@": "cyan"}
# Of one file, and of one step's tasks, before -v.
_LINES, _TASKS = 12, 12


def preview_document(preview: Preview) -> dict[str, object]:
    """The documented JSON of one step's preview."""
    return {
        "tasks": [
            {
                "name": task.name,
                "certain": task.certain,
                "diff": [{"path": one.path, "lines": list(one.lines)} for one in task.differences],
            }
            for task in preview.tasks
        ],
        "untold": preview.untold or None,
    }


def preview_lines(preview: Preview, page: Page) -> Iterator[str]:
    """A line for each task that would change something, with its diffs; then those of which that is not known; then why no more."""
    certain = [task for task in preview.tasks if task.certain]
    shown = certain if page.detail else certain[:_TASKS]
    for task in shown:
        yield from _wrapped(f"* {task.name}", page)
        for one in task.differences:
            yield from _difference(one, page)
    if len(certain) > len(shown):
        yield f"{_INDENT}and {len(certain) - len(shown)} more tasks; -v shows them"
    yield from _programs([task for task in preview.tasks if not task.certain], page)
    if preview.untold:
        yield from _wrapped(_printable(preview.untold), page, fg="yellow")
    elif not preview.tasks:
        yield from _wrapped("no task would change anything", page)


def _programs(tasks: list[TaskPreview], page: Page) -> Iterator[str]:
    if tasks:
        names = dict.fromkeys(task.name for task in tasks)
        yield from _wrapped(f"runs, and only then tells what it changes: {'; '.join(names)}", page)


def _difference(one: Difference, page: Page) -> Iterator[str]:
    if one.path:
        yield from _wrapped(one.path, page, more=2)
    shown = one.lines if page.detail or len(one.lines) <= _LINES + 1 else one.lines[:_LINES]
    for line in shown:
        for piece in _fitting(_printable(line), page):
            yield f"{_INDENT}  {page.style(piece, fg=_COLORS[line[0]]) if line[:1] in _COLORS else piece}".rstrip()
    if len(one.lines) > len(shown):
        yield f"{_INDENT}  and {len(one.lines) - len(shown)} more lines; -v shows them"


def _fitting(line: str, page: Page) -> Iterator[str]:
    """A line of a file keeps its spaces: cut off where the page ends, or gone on with below where all is wanted."""
    room = page.width - len(_INDENT) - 2
    if not page.width or cell_width(line) <= room:
        yield line
        return
    if not page.detail:
        head, _ = _split(line, room - 1)
        yield f"{head}…"
        return
    while line:
        head, line = _split(line, room)
        yield head


def _split(line: str, room: int) -> tuple[str, str]:
    """At so many columns: a wide character takes two."""
    taken = 0
    for number, character in enumerate(line):
        taken += cell_width(character)
        if taken > room:
            return line[:number], line[number:]
    return line, ""


def _printable(text: str) -> str:
    """A file of a host's may hold anything, also what a terminal obeys."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text.expandtabs(4))


def _wrapped(text: str, page: Page, *, more: int = 0, **style: str) -> Iterator[str]:
    indent = _INDENT + " " * more
    for line in wrap(text, max(page.width - len(indent), 16) if page.width else 0, "  "):
        yield indent + page.style(line, **style)
