"""``paictl explain``: what a field of the manifest means, from the same models as the schema."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from paictl.cli.console.help import definitions
from paictl.cli.console.table import wrap
from paictl.cli.flags import Call, verb_command

if TYPE_CHECKING:
    from paictl.manifest.explain import Explained

__all__ = ["verb"]


@verb_command("explain", takes_file=False)
@click.argument("field", required=False, default="")
def verb(call: Call, field: str) -> None:
    """Document a field of the manifest: its type, default, meaning, an example, and what is below it.

    For example: paictl explain spec.memory.store
    """
    from paictl.manifest.explain import explain

    explained = explain(field)
    call.terminal.result({"format": "1", **asdict(explained)}, lambda: _lines(call, explained))


def _lines(call: Call, explained: Explained) -> list[str]:
    terminal = call.terminal
    width = terminal.width or 88
    path = terminal.style(explained.path or "the manifest", bold=True)
    lines = [f"{path}: {explained.type}{', required' if explained.required else ''}"]
    if explained.description:
        lines += ["", *wrap(explained.description, width - 2)]
    # A type that is a choice lists them already.
    choices = "" if explained.type.startswith("one of") else ", ".join(explained.choices)
    facts = [("default", explained.default), ("choices", choices), ("example", explained.example)]
    shown = [(name, text) for name, text in facts if text]
    lines += ["", *definitions(shown, width)] if shown else []
    if explained.children:
        rows = [
            (f"{child.name}{'*' if child.required else ''}", f"{child.description} ({child.type})".strip())
            for child in explained.children
        ]
        starred = " (* must be there)" if any(child.required for child in explained.children) else ""
        lines += ["", f"Below it{starred}:", *definitions(rows, width)]
    return lines
