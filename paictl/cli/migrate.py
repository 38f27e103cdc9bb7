"""``paictl migrate``: rewrites an older manifest in the current version, comments kept."""

from __future__ import annotations

import os
from pathlib import Path

from paictl.cli.changes import require_consent
from paictl.cli.flags import Call, verb_command
from paictl.cli.session import manifest_files
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
        _replace(path, new)
    document = {"format": "1", "file": file, "changed": bool(difference), "diff": difference}
    call.terminal.result(
        document, lambda: f"{file}: {'rewritten' if difference else 'is of the current version already'}"
    )


def _replace(path: Path, text: str) -> None:
    """All of it or nothing: a full disk must not cost the person the manifest."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
