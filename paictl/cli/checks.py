"""What ``paictl doctor`` looks at: each check yields findings with a stable id, the evidence, and the command that mends it.

Looks only; what a finding's ``mend`` does is safe at any time and is called by ``doctor --fix`` alone.
"""

from __future__ import annotations

import shutil
import stat
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from paictl import places
from paictl.cli.flags import Call
from paictl.cli.session import Session, manifest_files, open_session
from paictl.disk import existing, free_bytes
from paictl.errors import ManifestError, PaictlError, Unreachable
from paictl.sizes import byte_count

if TYPE_CHECKING:
    from paictl.blueprint.types import RuntimePin
    from paictl.manifest.lock import LockedRuntime

__all__ = ["IDS", "Finding", "examine"]

IDS = {
    "manifest-missing": "there is no manifest where it is looked for",
    "manifest-invalid": "the manifest has errors",
    "state-open": "others can read paictl's records",
    "disk-low": "little room is left for model files",
    "bubblewrap-missing": "the agent's room can't be made",
    "unconfined": "the agent runs without its room, because the manifest says so",
    "secret-unreadable": "a declared secret can't be read",
    "secret-open": "others can read a secret's file",
    "lock-missing": "nothing is locked for this target",
    "runtime-behind": "the lock pins another runtime than this paictl carries",
    "target-unreachable": "the target can't be read",
    "unfinished": "a run was interrupted and not taken up again",
    "not-ready": "something that was applied does not stand or is not healthy",
}
_LOW_DISK = 2 * 10**9


@dataclass(frozen=True, slots=True)
class Finding:
    """``command`` is what a person types to mend it; ``mend`` does it where that is safe without being asked."""

    id: str
    severity: Literal["error", "warning"]
    summary: str
    evidence: str
    command: str
    mend: Callable[[], None] | None = None


def examine(call: Call) -> Iterator[Finding]:
    """Every finding, the ones that others follow from first."""
    yield from _places()
    file = manifest_files(call)[0]
    if file != "-" and not Path(file).exists():
        yield Finding("manifest-missing", "error", f"there is no {file} here", f"{Path.cwd()}", "paictl init")
        return
    try:
        session = open_session(call)
    except ManifestError as error:
        first = error.diagnostics[0] if error.diagnostics else None
        evidence = f"{first.span}: {first.summary}" if first else error.summary
        yield Finding("manifest-invalid", "error", error.summary, evidence, "paictl validate")
        return
    yield from _room(session)
    yield from _secrets(session)
    yield from _lock(session)
    yield from _target(session)


def _places() -> Iterator[Finding]:
    state = places.state_home()
    if state.is_dir():
        for path in (state, *(child for child in state.iterdir() if child.is_dir())):
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                yield Finding(
                    "state-open",
                    "error" if path != state else "warning",
                    f"others can read {path}",
                    f"mode {mode:04o}, wanted 0700",
                    f"chmod 700 {path}",
                    partial(path.chmod, 0o700),
                )
    cache = places.cache_home()
    free = free_bytes(cache)
    if free < _LOW_DISK:
        there = existing(cache)
        yield Finding(
            "disk-low",
            "warning",
            "little room for model files",
            f"{byte_count(free)} free in {there}",
            f"df -h {there}",
        )


def _room(session: Session) -> Iterator[Finding]:
    if session.driver_name != "native":
        return
    if session.manifest.target_spec.unconfined:
        span = session.manifest.origins.find(("spec", "targets", session.scope.target, "unconfined"))
        yield Finding(
            "unconfined",
            "warning",
            "the agent runs without its room",
            f"unconfined: true at {span}",
            "paictl explain spec.targets.NAME.unconfined",
        )
    elif shutil.which("bwrap") is None:
        command = "sudo apt-get install --no-install-recommends bubblewrap"
        yield Finding("bubblewrap-missing", "error", "the agent's room can't be made", "bwrap is not on PATH", command)


def _secrets(session: Session) -> Iterator[Finding]:
    from paictl.blueprint import clusters
    from paictl.cli.resolution import read_secret
    from paictl.secrets import SecretWarning

    brought = clusters.remote_secrets(session.manifest) | clusters.kept_secrets(session.manifest)
    for name in (one for one in session.manifest.agent.spec.secrets if one not in brought):
        with warnings.catch_warnings(record=True) as careless:
            warnings.simplefilter("always", SecretWarning)
            try:
                read_secret(session.manifest, name)
            except PaictlError as error:
                yield Finding("secret-unreadable", "error", error.summary, error.help, f"paictl secrets check {name}")
        for warning in careless:
            evidence, _, command = str(warning.message).rpartition(": ")
            path = Path(command.removeprefix("chmod 600 "))
            yield Finding(
                "secret-open",
                "error",
                f"others can read the secret {name}",
                evidence,
                command,
                partial(path.chmod, 0o600),
            )


def _lock(session: Session) -> Iterator[Finding]:
    from paictl.blueprint.runtime import runtime_pin
    from paictl.cli.resolution import lock_path
    from paictl.manifest.lockfile import read_lock

    path = lock_path(session.manifest)
    target = read_lock(path).targets.get(session.scope.target)
    if target is None or target.runtime is None:
        yield Finding(
            "lock-missing",
            "warning",
            f"{path.name} says nothing of {session.scope.target}",
            "the next apply chooses and pins; until then two machines may choose differently",
            "paictl lock",
        )
    elif target.runtime.digest != runtime_pin().digest:
        pins = f"pinned {_pin(target.runtime)}, carried {_pin(runtime_pin())}"
        yield Finding(
            "runtime-behind", "warning", "the pinned runtime is not this paictl's", pins, "paictl lock && paictl apply"
        )


def _pin(runtime: LockedRuntime | RuntimePin) -> str:
    return f"{runtime.version} ({runtime.digest[:12]})"


def _target(session: Session) -> Iterator[Finding]:
    try:
        status = session.reconciler().status()
    except Unreachable as error:
        yield Finding("target-unreachable", "error", error.summary, error.help, "paictl status -v")
        return
    except PaictlError:
        return  # a driver that only renders has no target to look at
    if status.unfinished:
        where = ", ".join(map(str, status.unfinished))
        yield Finding("unfinished", "error", "a run was interrupted and not taken up again", where, "paictl apply")
    elif status.release and not status.ready:
        bad = [row for row in status.resources if row.state not in {"running", "done", "kept"}]
        where = ", ".join(f"{row.address} {row.state}" for row in bad)
        yield Finding(
            "not-ready", "error", f"release {status.release} does not stand as applied", where, "paictl apply"
        )
