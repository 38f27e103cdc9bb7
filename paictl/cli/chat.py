"""``paictl chat``: talk to the agent from the terminal; the answer comes as it is thought."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from paictl.cli.console.flow import Flow
from paictl.cli.console.table import wrap
from paictl.cli.flags import Call, option, verb_command
from paictl.errors import PaictlError, UsageError

if TYPE_CHECKING:
    from paictl.engine.door import Message
    from paictl.engine.driver import Reach

__all__ = ["verb"]


@verb_command("chat", takes_file=False)
@click.argument("text", nargs=-1)
@option("--session", "conversation", metavar="NAME", help="Go on with the conversation of this name, and keep it.")
def verb(call: Call, text: tuple[str, ...], conversation: str | None) -> None:
    """Say TEXT to the agent and print its answer; without TEXT, talk: Ctrl-C ends an answer, Ctrl-D the conversation.

    A conversation without --session is forgotten at its end; what the agent was asked to remember for good stays.
    """
    from paictl.cli.session import open_session

    message = " ".join(text)
    if not message and not sys.stdin.isatty():
        message = sys.stdin.read().strip()
        if not message:
            raise UsageError("there is nothing to say", help='Say it: paictl chat "Hello", or pipe it in.')
    session = open_session(call)
    reach = session.reach()
    if message:
        _say(call, reach, message, conversation or "", [])
        return
    _talk(call, reach, session.scope.agent, conversation)


def _say(call: Call, reach: Reach, message: str, conversation: str, said: list[Message]) -> None:
    """Say one thing and show the answer; ``said`` is the conversation until now, and grows by both once it is whole."""
    from paictl.engine import door

    pieces = door.stream(reach, message, session=conversation, before=said)
    if call.terminal.output == "text":
        answer = _shown(call, pieces)
    else:
        answer = "".join(pieces)
        call.terminal.result({"format": "1", "answer": answer, "session": conversation or None}, lambda: "")
    said += [{"role": "user", "content": message}, {"role": "assistant", "content": answer}]


def _shown(call: Call, pieces: Iterable[str]) -> str:
    flow, answer = Flow(call.terminal.stream, call.terminal.width), ""
    try:
        for piece in pieces:
            flow.add(piece)
            answer += piece
    finally:
        flow.end()
    if not answer.endswith("\n"):
        call.terminal.write()
    return answer


def _talk(call: Call, reach: Reach, agent: str, conversation: str | None) -> None:
    from paictl.engine import door

    # Importing it gives input() editing and history. The history is never written: it is the conversation itself.
    with suppress(ImportError):
        import readline

        readline.set_auto_history(True)
    terminal = call.terminal
    for line in wrap(f"{agent} at {reach.url}. Ctrl-D ends the conversation.", terminal.err_width):
        terminal.note(terminal.style(line, stream=terminal.err, dim=True))
    name = conversation or f"cli-{uuid.uuid4().hex[:12]}"
    try:
        _rounds(call, reach, name)
    finally:
        if conversation is None:
            # A gateway that is gone has forgotten it, too.
            with suppress(PaictlError):
                door.end_session(reach, name)


def _rounds(call: Call, reach: Reach, name: str) -> None:
    terminal = call.terminal
    said: list[Message] = []
    while True:
        try:
            message = input("> ").strip()
        except EOFError:
            terminal.write()
            return
        except KeyboardInterrupt:
            terminal.write()
            continue
        if not message:
            continue
        try:
            _say(call, reach, message, name, said)
        except KeyboardInterrupt:
            terminal.write(terminal.style(" (stopped)", dim=True))
        except PaictlError as error:
            terminal.alert(f"error: {error.summary}\n help: {error.help}")
