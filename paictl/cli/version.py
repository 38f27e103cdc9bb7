"""``paictl version``: this paictl, the manifest's version that it writes, and where it runs."""

from __future__ import annotations

import platform

from paictl import __version__
from paictl.cli.flags import Call, verb_command

__all__ = ["verb"]


@verb_command("version", takes_file=False)
def verb(call: Call) -> None:
    """Print the version of paictl and of what it stands on."""
    from paictl.manifest.models import API_VERSION

    system = f"{platform.system()} {platform.machine()}"
    document = {
        "format": "1",
        "version": __version__,
        "manifest": API_VERSION,
        "python": platform.python_version(),
        "system": system,
    }
    call.terminal.result(
        document, lambda: f"paictl {__version__} (manifest {API_VERSION}, Python {document['python']}, {system})"
    )
