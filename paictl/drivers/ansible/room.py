"""Commands in the room of a service, on its host: confined by what its own unit says there. Used by the driver; leaves nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from paictl.drivers.ansible.logs import absent, unit_name
from paictl.drivers.ansible.onhost import confined
from paictl.drivers.ansible.shell import Shell
from paictl.engine.driver import RoomResult

__all__ = ["run"]

_SECONDS = 600.0
_REFUSED, _NOT_RUNNING = 125, b" does not run"


def run(shell: Shell, agent: str, service: str, argv: Sequence[str], stdin: bytes = b"") -> RoomResult:
    """A command to its end; ``python`` as its first word is the service's interpreter. Raises when the service does not run."""
    unit = unit_name(agent, service)
    asked = ["python3", "-I", "-c", _script(), unit, f"{_SECONDS:.0f}", *argv]
    done = shell.run(asked, stdin, timeout=_SECONDS)
    if done.code == _REFUSED and done.stderr == unit.encode() + _NOT_RUNNING:
        raise absent(agent, service)
    return done


@cache
def _script() -> str:
    return Path(str(confined.__file__)).read_text(encoding="utf-8")
