"""What somebody added by hand within what we declared: a rule, a variable, a port that no apply of ours takes away. Pure.

The API server knows who set which field (``managedFields``). Used to tell such fields in a plan, and by ``mending`` to take them
away. What clusters write into objects themselves is not told, and neither are labels and annotations of the object itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paictl.drivers.kubernetes.kinds import KINDS
from paictl.drivers.kubernetes.naming import MANAGER

__all__ = ["Addition", "additions", "told"]

Json = Mapping[str, Any]
Step = str | int

# Its values are compared elsewhere, and platforms give accounts their own ways to pull images.
_LEFT_OUT = frozenset({"Secret", "ServiceAccount"})
_HEAD = frozenset({"apiVersion", "kind", "metadata", "status"})
# What belongs to the cluster's own parts where we leave it open: the volume of a claim, the number that an autoscaler sets,
# and when somebody had the pods made anew.
_OPEN = frozenset(
    {
        ("spec", "volumeName"),
        ("spec", "replicas"),
        ("spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt"),
    }
)
_IMPLIED = {"protocol": "TCP"}
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Addition:
    """``path`` leads there in the live object; ``updated``: by a change, as people make it, not by another tool's apply."""

    path: tuple[Step, ...]
    name: str
    value: Any
    manager: str
    updated: bool


def additions(live: Json, declared: Json) -> list[Addition]:
    """What stands in ``live`` where ``declared`` says nothing, by each who set it."""
    kind = live["kind"]
    if kind in _LEFT_OUT:
        return []
    found: dict[tuple[Step, ...], Addition] = {}
    for one in live["metadata"].get("managedFields") or ():
        updated = one.get("operation") != "Apply"
        # What goes through a subresource is a state, or a number of replicas, which is compared by itself.
        if one.get("subresource") or (one.get("manager") == MANAGER and not updated):
            continue
        fields = {key: below for key, below in (one.get("fieldsV1") or {}).items() if key[2:] not in _HEAD}
        for path in _walk(fields, live, declared, ()):
            found.setdefault(path, _addition(live, path, str(one.get("manager")), updated=updated))
    if kind == "NetworkPolicy":
        # No defaults here: whatever is not declared opens something, whoever is said to have set it.
        for key in live["spec"].keys() - declared["spec"].keys():
            path = ("spec", key)
            found.setdefault(path, _addition(live, path, "another manager", updated=True))
    return [found[path] for path in sorted(found, key=_order) if path not in _OPEN]


def told(live: Json, declared: Json) -> dict[str, Any]:
    """The same as fields of an engine's spec."""
    return {one.name: one.value for one in additions(live, declared)}


def _order(path: tuple[Step, ...]) -> list[tuple[bool, int, str]]:
    """Entries of a list in their order, so that they can be removed from its end on."""
    return [(isinstance(one, int), one if isinstance(one, int) else 0, str(one)) for one in path]


def _addition(live: Json, path: tuple[Step, ...], manager: str, *, updated: bool) -> Addition:
    value: Any = live
    named: list[str] = []
    for step in path:
        value = value[step]
        if isinstance(step, int):
            named[-1] += f"[{_called(value)}]"
        else:
            named.append(step)
    if not KINDS[live["kind"]].bare:
        del named[0]
    return Addition(path, ".".join(named), value, manager, updated)


def _called(entry: Any) -> str:
    """How people call an entry of a list."""
    if not isinstance(entry, dict):
        return str(entry)
    keys = ("name", "mountPath", "containerPort", "port", "ip", "topologyKey")
    return next((str(entry[key]) for key in keys if key in entry), "another")


def _walk(fields: Json, live: Any, declared: Any, path: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    for key, below in fields.items():
        step = _step(key, live)
        if step is None:
            continue
        ours = _ours(key, step, declared)
        if ours is _NOTHING:
            yield (*path, step)
        else:
            yield from _walk(below, live[step], ours, (*path, step))


def _step(key: str, live: Any) -> Step | None:
    """Where a key of ``fieldsV1`` leads in what is live; None where it stands for the whole, or for nothing that is there."""
    sort, _, rest = key.partition(":")
    if sort == "f":
        return rest if isinstance(live, dict) and rest in live else None
    if sort not in {"k", "v"} or not isinstance(live, list):
        return None
    wanted = json.loads(rest)
    return next((number for number, one in enumerate(live) if _is(one, wanted, sort)), None)


def _ours(key: str, step: Step, declared: Any) -> Any:
    sort, _, rest = key.partition(":")
    if sort == "f":
        # Annotations are looked at one by one, also where we have none.
        other = {} if step == "annotations" else _NOTHING
        return declared.get(step, other) if isinstance(declared, dict) else other
    entries = declared if isinstance(declared, list) else []
    wanted = json.loads(rest)
    return next((one for one in entries if _is(one, wanted, sort)), _NOTHING)


def _is(entry: Any, wanted: Any, sort: str) -> bool:
    if sort == "v" or not isinstance(entry, dict):
        return bool(entry == wanted)
    return all(str(entry.get(key, _IMPLIED.get(key))) == str(value) for key, value in wanted.items())
