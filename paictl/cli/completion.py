"""``paictl completion``: the script that makes a shell complete verbs, flags and their values."""

from __future__ import annotations

import click

from paictl.cli.flags import Call, verb_command
from paictl.cli.program import program

__all__ = ["verb"]


@verb_command("completion", takes_file=False)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def verb(call: Call, shell: str) -> None:
    """Print the completion script of a shell: bash, zsh or fish.

    Put it where the shell reads it, for example: paictl completion bash > ~/.local/share/bash-completion/completions/paictl
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover - click knows all three
        message = f"click has no completion for {shell}"
        raise LookupError(message)
    script = kind(program, {}, "paictl", "_PAICTL_COMPLETE").source()
    call.terminal.result({"format": "1", "shell": shell, "script": script}, lambda: script.rstrip("\n"), raw=True)
