"""``paictl init``: a first manifest that applies as it stands."""

from __future__ import annotations

import getpass
import re
from pathlib import Path

import click

from paictl.cli.flags import Call, option, verb_command
from paictl.errors import Refused, UsageError

__all__ = ["verb"]

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@verb_command("init", takes_file=False)
@click.argument("directory", required=False, default=".", type=click.Path(file_okay=False), metavar="[DIR]")
@option("--name", metavar="NAME", help="The agent's name; the folder's by default.")
@option("--owner", metavar="NAME", help="Whose agent it is; you by default.")
def verb(call: Call, directory: str, name: str | None, owner: str | None) -> None:
    """Write a commented agent.yaml into DIR (here by default), ready for `paictl apply`. Never writes over one."""
    from paictl.manifest.starter import starter

    folder = Path(directory)
    path = folder / "agent.yaml"
    if path.exists():
        raise Refused(f"{path} exists already", help="Choose another folder: `paictl init DIR`.")
    asks = call.terminal.can_ask and not call.flags.yes
    chosen = _chosen(call, "The agent's name", name, _as_name(folder.resolve().name, "atlas"), asks=asks)
    person = _chosen(call, "Your name", owner, _as_name(getpass.getuser(), "me"), asks=asks)
    folder.mkdir(parents=True, exist_ok=True)
    # "x": two inits at once must not write over each other.
    with path.open("x", encoding="utf-8") as file:
        file.write(starter(chosen, person))
    document = {"format": "1", "file": str(path), "agent": chosen, "owner": person}
    where = "" if directory == "." else f" {directory}"
    call.terminal.result(
        document,
        lambda: [
            f"{path}: {chosen}, the agent of {person}",
            f"  look   paictl plan{where}",
            f"  start  paictl apply{where}",
        ],
    )


def _chosen(call: Call, question: str, given: str | None, usual: str, *, asks: bool) -> str:
    answer = given or (call.terminal.prompt(question, usual) if asks else usual)
    if not _NAME.fullmatch(answer):
        raise UsageError(
            f"{answer!r} can't be a name",
            help="Names are up to 40 lower-case letters, digits and dashes, such as atlas.",
        )
    return answer


def _as_name(text: str, otherwise: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    return name or otherwise
