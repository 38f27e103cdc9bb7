"""``paictl adopt``: takes over what stands already where the manifest wants something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from paictl.cli.flags import Call, verb_command
from paictl.errors import UsageError

if TYPE_CHECKING:
    from paictl.engine.model import Observed

__all__ = ["verb"]


@verb_command("adopt", takes_file=False)
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
def verb(call: Call, addresses: tuple[str, ...]) -> None:
    """Mark what stands at these addresses as paictl's own; shown first, and nothing else is changed.

    Without an address, list what could be adopted.
    """
    from paictl.cli.changes import require_consent
    from paictl.cli.session import open_session, watched

    session = open_session(call)
    session.meet()
    with watched(call) as emit:
        found = session.reconciler(emit).adoptable(lambda: session.desired(emit))
    if not addresses:
        call.terminal.result({"format": "1", "adoptable": _documents(found)}, lambda: _listing(call, found))
        return
    unknown = sorted(set(addresses) - {str(observed.address) for observed in found})
    if unknown:
        raise UsageError(
            f"there is nothing to adopt at {', '.join(unknown)}", help="`paictl adopt` lists what there is."
        )

    def consent(shown: Sequence[Observed]) -> bool:
        call.terminal.note("\n".join(_listing(call, shown)) + "\n")
        require_consent(call, "Take this over?")
        return True

    adopted = session.reconciler().adopt(session.desired, addresses, consent=consent)
    call.terminal.result(
        {"format": "1", "adopted": _documents(adopted)},
        lambda: [f"{observed.address}: adopted" for observed in adopted],
    )


def _documents(found: Sequence[Observed]) -> list[dict[str, object]]:
    return [
        {
            "address": str(observed.address),
            "owner": observed.owner,
            "handle": observed.handle,
            "holds_data": observed.holds_data,
        }
        for observed in found
    ]


def _listing(call: Call, found: Sequence[Observed]) -> list[str]:
    from paictl.cli.console.table import table

    if not found:
        return ["Nothing stands in the way: there is nothing to adopt."]
    owners = {"mine": "paictl", "foreign": "another tool", "unlabelled": "nobody says"}
    rows = [
        (str(observed.address), owners[observed.owner], "yes" if observed.holds_data else "", observed.handle)
        for observed in found
    ]
    return table(("ADDRESS", "OWNER", "HOLDS DATA", "IS"), rows, call.terminal.width)
