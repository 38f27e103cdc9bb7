"""The bounds that an engine's kernel can't hold: said when a container is made, and passed over when it is compared.

Called by ``services`` and ``view``. Raspberry Pi OS has no memory limits until they are asked for; older kernels count no swap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.kind import Act

__all__ = ["comparable", "tell"]

# What the engine says of itself, and the bounds of a container that it leaves out without it.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "MemoryLimit": ("memory", "memory_swap"),
    "SwapLimit": ("memory_swap",),
    "PidsLimit": ("pids",),
}
_NO_BOUND = frozenset({None, 0, -1})
_ADVICE = (
    "On a Raspberry Pi, put `cgroup_enable=memory cgroup_memory=1` at the end of the line in /boot/firmware/cmdline.txt and start "
    "it anew: until then a service that takes all the memory takes it from everything else there."
)


def comparable(connection: Connection, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A container's live spec without the bounds that could not be set: they are in no drift that anybody could mend."""
    if all(spec.get(name) not in _NO_BOUND for names in _NEEDS.values() for name in names):
        return dict(spec)
    info = connection.ask("/info")
    left_out = {name for flag, names in _NEEDS.items() if not info.get(flag) for name in names}
    return {name: value for name, value in spec.items() if name not in left_out or value not in _NO_BOUND}


def tell(act: Act, answer: Mapping[str, Any]) -> None:
    """Pass on what the engine warned of when it made a container."""
    for warning in answer.get("Warnings") or ():
        advice = f" {_ADVICE}" if "memory limit" in warning else ""
        act.say("warning", text=f"the engine's machine: {str(warning).rstrip('.')}.{advice}")
