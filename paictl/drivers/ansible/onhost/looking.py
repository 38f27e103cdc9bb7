"""One look at a host: every record against what is there now, what stands at our places without one, and what the machine is like.

Called by the action ``paictl_look``; changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import disk, items, machine, records
from .health import health

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["look"]

_UNITS = Path("/etc/systemd/system")
# Each agent has its own of these; of the others, several agents on one host share theirs.
_OWN_KINDS = frozenset({"secret", "service", "volume", "weights"})


def look(agent: str, target: str) -> dict[str, Any]:
    """What the controller needs to plan. Values of secrets, and what was kept of them, stay here."""
    every = list(records.every())
    mine = [record for record in every if (record["agent"], record["target"]) == (agent, target)]
    watched = {item: state for record in mine for item, state in record["items"].items()}
    now = items.read(watched, watched)
    return {
        "machine": machine.facts(),
        "records": [_seen(record, now) for record in mine],
        "strays": list(_strays(agent, target, every)),
    }


def _seen(record: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """A record in the words of ``records.py`` of the driver: without its states, with what differs from them."""
    told = ("kind", "name", "fingerprint", "spec", "depends_on", "holds_data")
    seen: dict[str, Any] = {key: record[key] for key in told}
    here = {item: now[item] for item in record["items"]}
    seen["begun"] = bool(record.get("begun"))
    seen["drift"] = _drift(record, here)
    # What is there of one that was only begun is made whole by making it once more.
    seen["remnant"] = not record.get("begun") and any(record["items"].values()) and items.all_gone(here)
    if record["spec"].get("unit"):
        seen["health"] = health(record["spec"]["unit"], record["spec"].get("check"))
    return seen


def _drift(record: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    own = f"unit:{record['spec'].get('unit')}" if record["kind"] == "service" else ""
    found = {}
    for item, before in record["items"].items():
        live = now[item]
        if item == own and live and before:
            # Whether it runs is a matter of its health, and mended by a start.
            live = {**live, "active": before["active"]}
        words = items.difference(item, before, live)
        if words:
            found[items.label(item)] = words
    return found


def _strays(agent: str, target: str, every: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """What stands where this agent's things are kept and is in no record of it: whose it is decides somebody else."""
    mine = {(one["kind"], one["name"]) for one in every if (one["agent"], one["target"]) == (agent, target)}
    others = {
        (one["kind"], one["name"]): (one["agent"], one["target"])
        for one in every
        if (one["agent"], one["target"]) != (agent, target)
    }
    managed: dict[str, set[tuple[str, str]]] = {}
    for one in every:
        for item in one["items"]:
            managed.setdefault(item.partition(":")[2], set()).add((one["agent"], one["target"]))
    told = set()
    for kind, name, path in _places(agent):
        whose = managed.get(str(path), set())
        if (kind, name) not in mine and (agent, target) not in whose:
            told.add((kind, name))
            yield {"kind": kind, "name": name, "whose": ", ".join(sorted(" on ".join(one) for one in whose))}
    # The same agent by another target has other things at the same places.
    for (kind, name), scope in others.items():
        if scope[0] == agent and kind in _OWN_KINDS and (kind, name) not in mine | told:
            yield {"kind": kind, "name": name, "whose": " on ".join(scope)}


def _places(agent: str) -> Iterator[tuple[str, str, Path]]:
    stem = f"paictl-{agent}-"
    for path in disk.entries(_UNITS):
        if path.name.startswith(stem) and path.suffix == ".service":
            yield "service", path.stem[len(stem) :], path
    for path in disk.entries(disk.HOME / agent / "data"):
        yield "volume", path.name, path
    for path in disk.entries(Path("/etc/paictl") / agent / "secrets"):
        yield "secret", path.name, path
