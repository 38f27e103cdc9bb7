"""What a step would change, task by task, as a person reads it and as programs parse it. Called by ``plan_view``; pure."""

from __future__ import annotations

from collections.abc import Iterator

from paictl.cli.console.diff import diff_lines, printable
from paictl.cli.console.page import Page
from paictl.cli.console.table import wrap
from paictl.engine.preview import Difference, Preview, TaskPreview

__all__ = ["preview_document", "preview_lines"]

_INDENT = " " * 6
# Of one step, before -v.
_TASKS = 12


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
        yield from _wrapped(printable(preview.untold), page, fg="yellow")
    elif not preview.tasks:
        yield from _wrapped("no task would change anything", page)


def _programs(tasks: list[TaskPreview], page: Page) -> Iterator[str]:
    if tasks:
        names = dict.fromkeys(task.name for task in tasks)
        yield from _wrapped(f"runs, and only then tells what it changes: {'; '.join(names)}", page)


def _difference(one: Difference, page: Page) -> Iterator[str]:
    if one.path:
        yield from _wrapped(one.path, page, more=2)
    yield from diff_lines(one.lines, page, _INDENT + "  ")


def _wrapped(text: str, page: Page, *, more: int = 0, **style: str) -> Iterator[str]:
    indent = _INDENT + " " * more
    for line in wrap(text, max(page.width - len(indent), 16) if page.width else 0, "  "):
        yield indent + page.style(line, **style)
