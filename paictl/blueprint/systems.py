"""How the system of a target's hosts is set up beside the agent: the manifest's words as plain values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paictl.manifest.systems import parse_size

if TYPE_CHECKING:
    from paictl.manifest.load import Manifest

__all__ = ["HostSystem", "host_system"]


@dataclass(frozen=True, slots=True)
class HostSystem:
    """What is empty stays as it was found. ``journal`` in bytes; ``zram`` in percent of memory; ``admins``: public keys by name."""

    timezone: str = ""
    locale: str = ""
    packages: tuple[str, ...] = ()
    security_updates: bool = True
    admins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    journal: int = 200 << 20
    journal_in_memory: bool = False
    zram: int = 0
    swappiness: int | None = None


def host_system(manifest: Manifest) -> HostSystem:
    """That of the chosen target."""
    said = manifest.target_spec.system
    if said is None:
        return HostSystem()
    return HostSystem(
        timezone=said.timezone or "",
        locale=said.locale or "",
        packages=tuple(said.packages),
        security_updates=said.security_updates,
        admins={name: tuple(keys) for name, keys in said.admins.items()},
        journal=parse_size(said.journal.size),
        journal_in_memory=said.journal.keep == "memory",
        zram=said.zram,
        swappiness=said.swappiness,
    )
