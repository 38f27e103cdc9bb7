"""``paictl history``: the releases that can be gone back to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from paictl.cli.flags import Call, verb_command

if TYPE_CHECKING:
    from paictl.engine.outcome import Release

__all__ = ["verb"]


@verb_command("history")
def verb(call: Call) -> None:
    """List the releases, the newest first. `paictl rollback N` goes back to one."""
    from paictl.cli.session import open_session
    from paictl.engine.recollection import recall
    from paictl.events import ignore

    session = open_session(call)
    scope, reconciler = session.scope, session.reconciler()
    releases = tuple(reversed(reconciler.history()))
    current = recall(reconciler.place, ignore).release
    document = {
        "format": "1",
        "agent": scope.agent,
        "target": scope.target,
        "releases": [_document(release, current) for release in releases],
    }

    def text() -> list[str]:
        if not releases and current:
            return [f"{scope.agent} on {scope.target}: release {current} stands, but its record is lost."]
        if not releases:
            return [f"{scope.agent} on {scope.target}: no release yet. `paictl apply` makes the first."]
        return _lines(call, releases, current)

    call.terminal.result(document, text)


def _document(release: Release, current: int) -> dict[str, object]:
    return {
        "number": release.number,
        "current": release.number == current,
        "when": release.when,
        "who": release.who,
        "verb": release.verb,
        "driver": release.driver,
        "manifest": release.manifest,
        "paictl": release.runtime.get("version", ""),
        "resources": len(release.resources),
    }


def _lines(call: Call, releases: Sequence[Release], current: int) -> list[str]:
    from paictl.cli.console.table import table

    rows = [
        (
            f"{release.number}{' (current)' if release.number == current else ''}",
            release.when.replace("T", " ")[:16],
            release.who,
            release.verb,
            str(len(release.resources)),
            release.manifest[:8],
        )
        for release in releases
    ]
    return table(("RELEASE", "WHEN (UTC)", "WHO", "BY", "RESOURCES", "MANIFEST"), rows, call.terminal.width)
