"""What hosts do by themselves now and then: back the agent up, follow a repository. Pure.

A part of the blueprint that only the ansible driver reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from paictl.errors import Span
from paictl.manifest.load import Manifest
from paictl.manifest.quantities import parse_duration

__all__ = ["Backup", "Updates", "backup", "calendar", "follows", "updates"]

_PATIENCE = "30m"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# What divides an hour and a day evenly, so that the clock alone says when.
_MINUTES = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)
_HOURS = (1, 2, 3, 4, 6, 8, 12)


@dataclass(frozen=True, slots=True)
class Backup:
    """Sets of the agent's data below the directory ``to``, for ``recipients`` of age; one is due after ``every`` seconds, ``keep`` stay."""

    to: str
    every: int
    keep: int
    recipients: tuple[str, ...]
    origin: Span | None = None


@dataclass(frozen=True, slots=True)
class Updates:
    """The repository that this machine follows, looked at ``every`` seconds, and the command that makes a commit of it true.

    ``signers`` is None where nobody has to sign; ``key`` is the name of the secret that may read it, ``known_hosts`` whose host it is.
    """

    git: str
    path: str
    every: int
    apply: tuple[str, ...]
    signers: tuple[str, ...] | None
    rollback: bool
    key: str = ""
    known_hosts: tuple[str, ...] = ()
    origin: Span | None = None


def backup(manifest: Manifest) -> Backup | None:
    """What the manifest wants to be backed up on its hosts; None where it says nothing, and on other drivers."""
    wanted = manifest.agent.spec.backup
    if wanted is None or manifest.target_spec.driver != "ansible" or not wanted.to.startswith("file://"):
        return None
    return Backup(
        to=f"{wanted.to.removeprefix('file://').rstrip('/')}/{manifest.agent.metadata.name}",
        every=round(parse_duration(wanted.every)),
        keep=wanted.keep,
        recipients=tuple(wanted.encrypt.age),
        origin=manifest.origins.find(("spec", "backup")),
    )


def follows(manifest: Manifest) -> bool:
    """Whether the target is one that follows a repository by itself: this very machine, under driver ansible."""
    target = manifest.target_spec
    return manifest.agent.spec.updates is not None and target.driver == "ansible" and not target.hosts


def updates(manifest: Manifest, program: tuple[str, ...]) -> Updates | None:
    """What the manifest wants to be followed, by this paictl (``program``); None where it says nothing, and on other targets."""
    wanted = manifest.agent.spec.updates
    if wanted is None or not follows(manifest):
        return None
    return Updates(
        git=wanted.git,
        path=wanted.path.rstrip("/"),
        every=round(parse_duration(wanted.every)),
        # As a person would type it, but that it waits for whoever is at it.
        apply=(*program, "apply", "--yes", "--target", manifest.target, "--lock-timeout", _PATIENCE),
        signers=tuple(wanted.signers) if wanted.verify == "signed-commits" else None,
        rollback=wanted.on_failure == "rollback",
        key=wanted.key or "",
        known_hosts=tuple(wanted.known_hosts),
        origin=manifest.origins.find(("spec", "updates")),
    )


def calendar(every: int) -> tuple[str, int]:
    """When a timer looks, in systemd's words, so that what is due after that many seconds is never late; and how far apart, in seconds.

    A day at most: what is due more rarely is looked for each day.
    """
    if every >= _DAY:
        return "*-*-* 00:00:00", _DAY
    if every >= _HOUR:
        hours = max(one for one in _HOURS if one * _HOUR <= every)
        return f"*-*-* 00/{hours}:00:00", hours * _HOUR
    minutes = max((one for one in _MINUTES if one * _MINUTE <= every), default=1)
    return f"*-*-* *:00/{minutes}:00", minutes * _MINUTE
