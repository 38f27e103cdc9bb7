"""The engine's record of an agent, kept on every host of its target; the newest whole one counts. Used by the driver."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from paictl.drivers.ansible.hosts import Hosts
from paictl.drivers.ansible.locking import Guards
from paictl.drivers.ansible.onhost import record
from paictl.drivers.ansible.shell import Shell, on_each
from paictl.engine.driver import Scope
from paictl.errors import PaictlError, Unreachable

__all__ = ["load", "path_of", "save"]


def path_of(scope: Scope) -> str:
    """Where it lies on each host."""
    return f"/var/lib/paictl/.records/{scope.agent}.{scope.target}/inventory.json"


def save(hosts: Hosts, scope: Scope, inventory: Mapping[str, object], guards: Guards | None = None) -> None:
    """Keep it on every host that is reached; one without resources is not kept.

    Raises ``PaictlError`` where a host could not write, or has given our lock to another one.
    """
    content = json.dumps(dict(inventory), sort_keys=True)
    number = max(_versions(hosts, scope), default=0) + 1
    whole = {"format": 1, "number": number, "sha256": _digest(content), "inventory": content}
    verb = "save" if inventory.get("resources") else "forget"

    def write(shell: Shell) -> None:
        if guards is not None:
            guards.check(shell.name)
        _ask(shell, verb, scope, json.dumps(whole).encode())

    _, troubles = on_each(hosts, write)
    for error in troubles.values():
        if not isinstance(error, Unreachable):
            raise error


def load(hosts: Hosts, scope: Scope) -> Mapping[str, object] | None:
    """What was saved last on any host that is reached, or None; raises ``Unreachable`` when none is."""
    versions = _versions(hosts, scope)
    return versions[max(versions)] if versions else None


def _versions(hosts: Hosts, scope: Scope) -> dict[int, Mapping[str, object]]:
    found, _ = on_each(hosts, lambda shell: _ask(shell, "load", scope))
    read = (_read(content) for content in found.values())
    return dict(one for one in read if one)


def _ask(shell: Shell, verb: str, scope: Scope, content: bytes = b"") -> bytes:
    done = shell.run(["python3", "-I", "-c", _script(), verb, path_of(scope)], stdin=content)
    if done.code != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-400:]
        raise PaictlError(
            f"{shell.name}: the record of {scope.agent} can't be kept: {said}",
            help=f"It lies at {path_of(scope)} there. What was applied stands; apply again once there is room.",
        )
    return done.stdout


def _read(content: bytes) -> tuple[int, Mapping[str, object]] | None:
    try:
        told: Any = json.loads(content)
        if told["sha256"] != _digest(told["inventory"]):
            return None
        return int(told["number"]), json.loads(told["inventory"])
    except (ValueError, KeyError, TypeError):
        return None


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


@cache
def _script() -> str:
    return Path(str(record.__file__)).read_text(encoding="utf-8")
