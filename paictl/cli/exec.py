"""``paictl exec``: a command run with exactly a service's confinement."""

from __future__ import annotations

import sys

import click

from paictl.cli.flags import Call, option, verb_command
from paictl.errors import UsageError

__all__ = ["verb"]


@verb_command("exec", takes_file=False)
@click.argument("service")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@option("-i", "--stdin", "wants_stdin", is_flag=True, help="Hand standard input on to the command.")
def verb(call: Call, service: str, command: tuple[str, ...], wants_stdin: bool) -> int:
    """Run a command as the service would: the same room, the same files, the same one door.

    For example: paictl exec agent -- python -c "import socket; socket.create_connection(('192.0.2.1', 443), 2)"

    The exit code is the command's. `python` is the service's own interpreter.
    """
    from paictl.cli.session import open_session

    session = open_session(call)
    if service not in session.services():
        raise UsageError(f"there is no service {service!r}", help=f"There are {', '.join(session.services())}.")
    stdin = sys.stdin.buffer.read() if wants_stdin else b""
    result = session.driver.run_in_room(session.blueprint(), service, command, stdin)
    stdout, stderr = result.stdout.decode(errors="replace"), result.stderr.decode(errors="replace")
    if call.terminal.output == "text":
        call.terminal.stream(stdout)
        if stderr:
            call.terminal.alert(stderr.rstrip("\n"))
    else:
        call.terminal.result({"format": "1", "code": result.code, "stdout": stdout, "stderr": stderr}, lambda: "")
    return result.code
