"""``paictl validate``: whether the manifest holds together. Reads files only."""

from __future__ import annotations

from paictl.cli.console.failure import diagnostic_document
from paictl.cli.flags import Call, verb_command
from paictl.cli.session import load_manifest

__all__ = ["verb"]


@verb_command("validate")
def verb(call: Call) -> None:
    """Parse, merge and check the manifest. Everything wrong is told at once; no network, no target.

    Exit code 2 when anything is wrong.
    """
    manifest = load_manifest(call)
    name = manifest.agent.metadata.name
    document = {
        "format": "1",
        "valid": True,
        "agent": name,
        "target": manifest.target,
        "driver": manifest.target_spec.driver,
        "digest": manifest.digest,
        "diagnostics": [diagnostic_document(warning) for warning in manifest.warnings],
    }
    files = ", ".join(manifest.files)
    call.terminal.result(
        document, lambda: f"{files}: valid ({name} on {manifest.target}, {manifest.target_spec.driver})"
    )
