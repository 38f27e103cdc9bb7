"""``paictl open``: where the agent is reached, for people and for chat clients."""

from __future__ import annotations

from paictl.cli.flags import Call, option, verb_command

__all__ = ["verb"]


@verb_command("open")
@option("--token", is_flag=True, help="Print the owner's token alone, for a client that asks for an API key.")
def verb(call: Call, token: bool) -> None:
    """Print the agent's address, and how a chat client talks to it: it is an OpenAI-compatible model."""
    from paictl.cli.session import open_session

    session = open_session(call)
    reach = session.reach()
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
