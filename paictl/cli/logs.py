"""``paictl logs``: what the services wrote."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from paictl.cli.flags import Call, option, verb_command
from paictl.errors import PaictlError, UsageError

if TYPE_CHECKING:
    from paictl.cli.session import Session

__all__ = ["verb"]

_COLORS = ("cyan", "magenta", "yellow", "green", "blue")


@verb_command("logs", takes_file=False, own_short="-f")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@option("--tail", type=click.IntRange(min=0), default=50, metavar="N", help="How many of the last lines; 50.")
def verb(call: Call, services: tuple[str, ...], follow: bool, tail: int) -> None:
    """Show the last lines of the services, or of all of them; with --follow, also those to come."""
    from paictl.cli.session import open_session

    session = open_session(call)
    names = _names(session, services)
    width = max(map(len, names))
    for name, line in _lines(session, names, tail=tail, follow=follow):
        if call.terminal.output == "json":
            call.terminal.line({"service": name, "line": line})
            continue
        prefix = call.terminal.style(f"{name:<{width}}", fg=_COLORS[names.index(name) % len(_COLORS)])
        call.terminal.write(f"{prefix}  {line}" if len(names) > 1 else line)


def _names(session: Session, wanted: Sequence[str]) -> list[str]:
    known = session.services()
    for name in wanted:
        if name not in known:
            raise UsageError(f"there is no service {name!r}", help=f"There are {', '.join(known)}.")
    return list(wanted or known)


def _lines(session: Session, names: Sequence[str], *, tail: int, follow: bool) -> Iterator[tuple[str, str]]:
    """The services' lines; when following several, in the order in which they come."""
    if follow and len(names) > 1:
        yield from _together(session, names, tail)
        return
    for name in names:
        for line in session.driver.logs(session.scope, name, tail=tail, follow=follow):
            yield name, line


def _together(session: Session, names: Sequence[str], tail: int) -> Iterator[tuple[str, str]]:
    lines: queue.SimpleQueue[tuple[str, str] | PaictlError | None] = queue.SimpleQueue()

    def read(name: str) -> None:
        try:
            for line in session.driver.logs(session.scope, name, tail=tail, follow=True):
                lines.put((name, line))
            lines.put(None)
        except PaictlError as error:
            lines.put(error)

    for name in names:
        threading.Thread(target=read, args=(name,), daemon=True).start()
    ended = 0
    while ended < len(names):
        item = lines.get()
        if isinstance(item, PaictlError):
            raise item
        if item is None:
            ended += 1
        else:
            yield item
