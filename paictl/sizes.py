"""Sizes in bytes as people read them. Pure; used by whoever tells a person how much of something there is."""

from __future__ import annotations

__all__ = ["byte_count"]


def byte_count(count: float) -> str:
    """``98.4 MB``: decimal units, as downloads and disks are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
