"""How far a verb lets resolving go. Made by ``session`` of the flags; read by ``resolution`` and ``pinning``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Rules"]


@dataclass(frozen=True, slots=True)
class Rules:
    """How far resolving may go. ``locked``: nothing is resolved; ``download``: files may be fetched to learn of them.

    ``fresh``: what the lock answered before does not count; ``secrets``: their fingerprints are wanted; ``images``: exact
    ones are, where ``driver`` runs any.
    """

    locked: bool = False
    offline: bool = False
    download: bool = False
    fresh: bool = False
    secrets: bool = False
    images: bool = False
    driver: str = ""
