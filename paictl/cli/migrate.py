"""``paictl migrate``: rewrites an older manifest in the current version, comments kept."""

from __future__ import annotations

from pathlib import Path

from paictl.cli.changes import require_consent
from paictl.cli.flags import Call, verb_command
from paictl.cli.session import manifest_files
from paictl.disk import replace_file
from paictl.errors import UsageError

__all__ = ["verb"]


@verb_command("migrate")
def verb(call: Call) -> None:
    """Rewrite the manifest to the current version, keeping its comments; the difference is shown before."""
    from paictl.manifest.migrate import migrate

    (file, *others) = manifest_files(call)
    if others or file == "-":
        raise UsageError("migrate rewrites one file in its place", help="Name one file: `paictl migrate agent.yaml`.")
    path = Path(file)
    new, difference = migrate(path.read_text(encoding="utf-8"), file)
    if difference:
        call.terminal.note(difference.rstrip("\n") + "\n")
        require_consent(call, f"Rewrite {file}?")
        replace_file(path, new.encode(), path.stat().st_mode & 0o777)
    document = {"format": "1", "file": file, "changed": bool(difference), "diff": difference}
    call.terminal.result(
        document, lambda: f"{file}: {'rewritten' if difference else 'is of the current version already'}"
    )
