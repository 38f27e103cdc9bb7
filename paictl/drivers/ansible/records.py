"""What the driver and a host's own records say to each other: a record as it is sent, and as it comes back from a look. Pure.

The words are those of ``onhost/records.py``.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from paictl.drivers.ansible.health import read as read_health
from paictl.drivers.ansible.kinds import DRIVER
from paictl.engine.differ import DRIFT
from paictl.engine.driver import Scope
from paictl.engine.model import Address, Health, Observed, Resource

__all__ = ["key", "observed", "packed", "record", "stray"]

_HEALTHY = Health("healthy")


def key(scope: Scope, address: Address) -> dict[str, object]:
    """Enough to find one."""
    return {"agent": scope.agent, "target": scope.target, "kind": address.kind, "name": address.name}


def record(scope: Scope, resource: Resource, label: str) -> dict[str, object]:
    """What is written down of a resource, but for what it manages."""
    return {
        **key(scope, resource.address),
        "fingerprint": label,
        "spec": dict(resource.spec),
        "depends_on": [str(one) for one in resource.depends_on],
        "holds_data": resource.holds_data,
    }


def packed(content: Mapping[str, object]) -> str:
    """As an argument of a module: in letters that no template engine takes for its own."""
    return base64.b64encode(json.dumps(content).encode()).decode("ascii")


def observed(scope: Scope, host: str, seen: Mapping[str, Any]) -> Observed:
    """One record of ours as it was seen."""
    spec = {**seen["spec"], DRIFT: seen["drift"]}
    if seen["begun"]:
        # How it would be when it were whole, nobody wrote down: it is made once more.
        del spec[DRIFT]
    told = seen.get("health")
    split = (str(one).partition("/") for one in seen["depends_on"])
    return Observed(
        Address(scope.target, DRIVER, seen["kind"], seen["name"]),
        "mine",
        spec,
        fingerprint=seen["fingerprint"],
        token=_token(seen["fingerprint"], spec),
        health=read_health(told) if told else _HEALTHY,
        handle=host,
        holds_data=bool(seen["holds_data"]),
        depends_on=tuple(Address(scope.target, DRIVER, kind, name) for kind, _, name in split),
        remnant=bool(seen["remnant"]),
        since=str((told or {}).get("since") or ""),
        url=str(seen["spec"].get("url") or ""),
        place=host,
    )


def stray(scope: Scope, host: str, seen: Mapping[str, Any]) -> Observed:
    """Something at one of our places that no record of ours tells of."""
    address = Address(scope.target, DRIVER, seen["kind"], seen["name"])
    spec = {"agent": scope.agent, "host": host, **({"whose": seen["whose"]} if seen["whose"] else {})}
    return Observed(
        address,
        "foreign" if seen["whose"] else "unlabelled",
        spec,
        token=_token("", spec),
        handle=host,
        place=host,
    )


def _token(label: str, spec: Mapping[str, object]) -> str:
    """Changes when what is set up changes; a restart by systemd is not a change of what a person reviewed."""
    content = json.dumps([label, spec], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
