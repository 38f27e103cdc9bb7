"""``paictl secrets``: which secrets are declared, and whether each can be read. Values are never shown, sent or kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from paictl.cli.flags import Call, verb_command
from paictl.errors import ExitCode, PaictlError, UsageError

if TYPE_CHECKING:
    from paictl.manifest.load import Manifest

__all__ = ["verb"]


@verb_command("secrets", takes_file=False)
@click.argument("action", type=click.Choice(["list", "check"]), default="list")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def verb(call: Call, action: str, names: tuple[str, ...]) -> int:
    """List the declared secrets, or check them: read each where it is kept, and tell whether that works."""
    from paictl.cli.session import load_manifest

    manifest = load_manifest(call)
    known = manifest.agent.spec.secrets
    for name in names:
        if name not in known:
            raise UsageError(
                f"there is no secret {name!r}", help=f"The manifest declares {', '.join(known) or 'none'}."
            )
    rows = [_document(manifest, name, check=action == "check") for name in names or known]
    call.terminal.result({"format": "1", "secrets": rows}, lambda: _lines(call, rows))
    return ExitCode.FAILED if any(row.get("ok") is False for row in rows) else ExitCode.OK


def _document(manifest: Manifest, name: str, *, check: bool) -> dict[str, object]:
    from paictl.blueprint import clusters
    from paictl.cli.resolution import read_secret, secret_reference

    reference = secret_reference(manifest, name)
    place = {
        "env": reference.entry,
        "file": reference.file,
        "age": f"{reference.file} ({reference.key})",
        "keyring": f"{reference.service}/{reference.entry}",
        "exec": " ".join(reference.command[:1]),
        "kubernetes": f"{reference.entry}/{reference.key}",
    }[reference.source]
    secret = manifest.agent.spec.secrets[name]
    document: dict[str, object] = {"name": name, "from": reference.source, "where": place, "hosts": list(secret.hosts)}
    brought = clusters.remote_secrets(manifest) | clusters.kept_secrets(manifest)
    if check and name not in brought:
        try:
            read_secret(manifest, name)
        except PaictlError as error:
            return document | {"ok": False, "problem": error.summary, "help": error.help}
        document["ok"] = True
    return document


def _lines(call: Call, rows: list[dict[str, object]]) -> list[str]:
    from paictl.cli.console.table import table

    if not rows:
        return ["No secrets are declared."]
    style = call.terminal.style
    verdicts = {True: style("ok", fg="green"), False: style("not readable", fg="red"), None: ""}
    cells = [
        (str(row["name"]), str(row["from"]), str(row["where"]), verdicts[_ok(row)], str(row.get("problem", "")))
        for row in rows
    ]
    return table(("SECRET", "FROM", "WHERE", "READ", "PROBLEM"), cells, call.terminal.width)


def _ok(row: dict[str, object]) -> bool | None:
    ok = row.get("ok")
    return ok if isinstance(ok, bool) else None
