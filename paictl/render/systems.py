"""How hosts are set up beside the agent, in the words of the role ``base``. Pure; called by ``units``."""

from __future__ import annotations

from collections.abc import Mapping

from paictl.blueprint.systems import HostSystem

__all__ = ["base_vars"]

# What each role needs it brings itself; these are for what nobody else would notice is missing.
_PACKAGES = ("ca-certificates", "unattended-upgrades")


def base_vars(system: HostSystem) -> Mapping[str, object]:
    """What the role is told, and nothing that it would do anyway."""
    usual = HostSystem()
    told: dict[str, object] = {
        "base_timezone": system.timezone,
        "base_locale": system.locale,
        "base_packages": [*_PACKAGES, *system.packages] if system.packages else [],
        "base_admins": [{"name": name, "authorized_keys": list(keys)} for name, keys in system.admins.items()],
    }
    found = {name: value for name, value in told.items() if value}
    if not system.security_updates:
        found["base_unattended_upgrades"] = False
    if system.journal != usual.journal:
        # journald counts in powers of two, and by single letters.
        found["base_journal_size"] = f"{system.journal >> 20}M"
    if system.journal_in_memory:
        found["base_journal_volatile"] = True
    if system.zram:
        found["base_zram_percent"] = system.zram
    if system.swappiness is not None:
        found["base_swappiness"] = system.swappiness
    return found
