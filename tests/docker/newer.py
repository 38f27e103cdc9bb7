"""The newest Docker engine that Debian packages, and the tests that are run on it besides: what differs from one engine to the next.

``python -m tests.docker.newer [pytest's arguments]`` is a lane of ``make test-all``; with arguments it runs those tests instead.
The engine lives in namespaces of its own, as the lane's does, and is gone at the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.docker import engine as engines
from tests.docker.daemon import Engine
from tests.docker.debian import alone, program

__all__ = ["Programs", "lacking", "newest"]

# The newest first; the next is Debian's stable release, whose packages stay. Docker 29 keeps images in containerd's store unless
# told otherwise, and speaks no API before 1.44: of the engines before it, 28 can do so already.
_RELEASES = {"testing": ("--feature=containerd-snapshotter=true", "DOCKER_MIN_API_VERSION=1.44"), "trixie": ()}
_TESTS = (
    "tests/drivers/contract",
    "tests/docker/test_compose.py",
    "tests/docker/test_execution.py",
    "tests/docker/test_locked_images.py",
    "tests/docker/test_networks.py",
    "tests/docker/test_newer.py",
    "tests/docker/test_pins.py",
    "tests/docker/test_relay.py",
    "tests/docker/test_uploads.py",
    "tests/docker/test_volumes.py",
)


@dataclass(frozen=True)
class Programs:
    """An engine out of its packages: what it says its version is, where its programs are, and what to start it with.

    runc is this machine's own, since Debian builds it for the release's own C library; Docker takes any from 1.0 on.
    """

    version: str
    folders: tuple[Path, ...]
    flags: tuple[str, ...]


@cache
def newest() -> Programs:
    """Fetched when it is not in the cache. Raises ``RuntimeError`` with what kept us from each release's."""
    reasons = []
    for release, flags in _RELEASES.items():
        try:
            daemon = program("docker.io", release, "usr/sbin/dockerd")
            folders = (daemon.parent, program("containerd", release, "usr/bin/containerd").parent)
        except (RuntimeError, IndexError) as error:
            reasons.append(f"Debian {release}: {error}")
            continue
        asked = subprocess.run([daemon, "--version"], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            return Programs(asked.stdout.split()[2].rstrip(","), folders, flags)
        reasons.append(f"Debian {release}: {asked.stderr.strip()[-300:]}")
    raise RuntimeError("no newer engine can be had: " + "; ".join(reasons))


def lacking() -> str:
    """Why none can be had here, and what would change that; empty when one can."""
    engines.install()
    if reason := engines.lacking_own():
        return reason
    try:
        newest()
    except RuntimeError as error:
        return str(error)
    return ""


def _main(arguments: Sequence[str]) -> int:
    if reason := lacking():
        sys.exit(reason)
    programs = newest()
    # One place, so that what is kept there of its users is found again, and one at a time.
    engine = Engine(engines.cache() / "newer", programs=programs.folders, flags=programs.flags)
    with alone("newer"):
        try:
            engine.start()
            print(f"Docker engine {programs.version}", flush=True)
            chosen = arguments or ["-q", "-n", "2", "--dist", "loadfile", "-m", "docker", *_TESTS]
            environment = {**os.environ, "DOCKER_HOST": engine.host}
            with engine.entered():
                return subprocess.run(
                    [sys.executable, "-m", "pytest", *chosen], env=environment, check=False
                ).returncode
        finally:
            engine.discard()


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
