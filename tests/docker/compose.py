"""The `docker compose` that tests run rendered files with: the installed plugin, else Debian's static one out of its package."""

from __future__ import annotations

import subprocess

from tests.docker.debian import program

__all__ = ["compose_command"]

_RELEASE = "trixie"
"""The first Debian release with version 2, as one file that runs anywhere."""


def compose_command(host: str) -> list[str]:
    """What comes before Compose's own arguments, for the engine at ``host``."""
    asked = ["docker", "compose", "version", "--short"]
    try:
        plugin = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.lstrip("v")
    except FileNotFoundError:
        plugin = ""
    if plugin.partition(".")[0].isdecimal() and int(plugin.partition(".")[0]) > 1:
        return ["docker", "--host", host, "compose"]
    path = program("docker-compose", _RELEASE, "usr/libexec/docker/cli-plugins/docker-compose")
    return ["env", f"DOCKER_HOST={host}", str(path)]
