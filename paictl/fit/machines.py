"""What the machines of a target have for models, and which models are for which of them.

Called by ``lock`` and by whatever plans without a lock. Of hosts elsewhere only the manifest is asked: no network, no host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from paictl.fit.hardware import Hardware, default_threads
from paictl.manifest.machines import home
from paictl.manifest.models import Model, Target
from paictl.manifest.systems import Machine, parse_size

__all__ = ["Share", "shares", "threads"]

# What programs on Linux call them.
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Share:
    """Models that share one machine; ``hardware`` is None where nobody has said what it has."""

    models: Mapping[str, Model]
    hardware: Hardware | None


def shares(models: Mapping[str, Model], target: Target, driver: str, here: Callable[[], Hardware]) -> tuple[Share, ...]:
    """One share for each machine of the target. ``here`` looks at this one, for a driver that has no hosts elsewhere."""
    if driver != "ansible" or not target.hosts:
        return (Share(models, here()),)
    where = {model: name for name, host in target.hosts.items() for model in host.runs}
    rest = home({name: bool(host.runs) for name, host in target.hosts.items()})
    found: dict[str, dict[str, Model]] = {}
    for name, model in models.items():
        found.setdefault(where.get(name, rest), {})[name] = model
    return tuple(Share(theirs, _hardware(name, target)) for name, theirs in found.items())


def threads(found: tuple[Share, ...]) -> int:
    """How many threads a local model may have: what suits the smallest machine that runs one and is known."""
    cores = [
        share.hardware.cores
        for share in found
        if share.hardware is not None and any(model.is_local for model in share.models.values())
    ]
    return default_threads(min(cores, default=1))


def _hardware(host: str, target: Target) -> Hardware | None:
    said: Machine | None = target.hosts[host].machine or target.machine
    if said is None:
        return None
    memory = parse_size(said.memory)
    return Hardware(
        cores=said.cores,
        ram=memory,
        ram_available=memory,
        swap=0,
        disk_free=0,
        arch=_ARCHITECTURES.get(said.arch or "", ""),
        model=said.board or "",
        name=host,
    )
