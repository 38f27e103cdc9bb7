"""``paictl open``: where the agent is reached, for people and for chat clients."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import click

from paictl.cli.flags import Call, option, verb_command
from paictl.errors import PaictlError

__all__ = ["verb"]


@verb_command("open")
@option("--token", is_flag=True, help="Print the owner's token alone, for a client that asks for an API key.")
@option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="Where the way begins on this machine, if one has to be opened; the gateway's own port, or one that is free.",
)
def verb(call: Call, token: bool, port: int | None) -> None:
    """Print the agent's address, and how a chat client talks to it: it is an OpenAI-compatible model.

    An agent in a cluster or on an engine elsewhere has none here: a way to it is opened, and stays until Ctrl-C.
    """
    from paictl.cli.session import open_session

    session = open_session(call)
    if port is not None and not _is_free(port):
        raise PaictlError(f"port {port} of this machine is taken", help="Name another one, or none.")
    own = session.blueprint().public[1].port
    reach = session.reach(port or (own if _is_free(own) else 0))
    agent = session.scope.agent
    if token:
        call.terminal.result({"format": "1", "url": reach.url, "token": reach.token}, lambda: reach.token)
        return
    document = {"format": "1", "agent": agent, "url": reach.url, "api": f"{reach.url}/v1", "model": agent}
    call.terminal.result(
        document,
        lambda: [
            reach.url,
            f"  api    {reach.url}/v1 (OpenAI-compatible, model {agent})",
            "  key    paictl open --token",
            "  chat   paictl chat",
        ],
    )
    if reach.held:
        call.terminal.note("It leads to the agent until Ctrl-C.")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
