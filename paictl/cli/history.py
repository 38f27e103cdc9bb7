"""``paictl history``: the releases that can be gone back to."""

from __future__ import annotations

from paictl.cli.flags import Call, verb_command

__all__ = ["verb"]


@verb_command("history")
def verb(call: Call) -> None:
    """List the releases, the newest first. `paictl rollback N` goes back to one."""
    from paictl.cli.console.table import table
    from paictl.cli.session import open_session
    from paictl.engine.ledger import recall
    from paictl.events import ignore

    session = open_session(call)
    reconciler = session.reconciler()
    releases = tuple(reversed(reconciler.history()))
    stands = recall(reconciler.place, ignore).release
    document = {
        "format": "1",
        "agent": session.scope.agent,
        "target": session.scope.target,
        "releases": [
            {
                "number": release.number,
                "current": release.number == stands,
                "when": release.when,
                "who": release.who,
                "verb": release.verb,
                "driver": release.driver,
                "manifest": release.manifest,
                "paictl": release.runtime.get("version", ""),
                "resources": len(release.resources),
            }
            for release in releases
        ],
    }

    def text() -> list[str]:
        if not releases:
            return [f"{session.scope.agent} on {session.scope.target}: no release yet. `paictl apply` makes the first."]
        rows = [
            (
                f"{release.number}{' (current)' if release.number == stands else ''}",
                release.when.replace("T", " ")[:16],
                release.who,
                release.verb,
                str(len(release.resources)),
                release.manifest[:8],
            )
            for release in releases
        ]
        return table(("RELEASE", "WHEN (UTC)", "WHO", "BY", "RESOURCES", "MANIFEST"), rows, call.terminal.width)

    call.terminal.result(document, text)
