"""NetworkPolicies of others that let our pods be reached, or reach, more than the blueprint says: policies only ever add up. Pure.

What is found is told beside our own policy of that service, so that a plan names it; nobody but its owner removes it, or agrees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from paictl.drivers.kubernetes.naming import owner_of
from paictl.engine.driver import Scope
from paictl.engine.model import Observed
from paictl.errors import Refused

__all__ = ["AGREED", "OPENED", "openings", "refusal"]

Json = Mapping[str, Any]

OPENED = "opened"
"""The field of a policy's spec that names the others' policies which open what it closes."""

AGREED = "paictl/agreed"
"""An annotation on somebody's policy: the agent whose owner knows of it and wants it, such as for a monitoring system."""

_COMPONENT = "app.kubernetes.io/component"


def openings(scope: Scope, standing: Iterable[Json]) -> dict[str, list[str]]:
    """For each of our policies the names of the others' that open the same pods."""
    lives = list(standing)
    policies = [one for one in lives if one["kind"] == "NetworkPolicy"]
    ours = {one["metadata"]["name"] for one in policies if _mine(scope, one)}
    found: dict[str, list[str]] = {}
    for pods in (_labels(one) for one in lives if _mine(scope, one)):
        name = pods.get(_COMPONENT, "")
        opening = [one for one in policies if not _mine(scope, one) and _opens(scope, one, pods)]
        if name in ours and opening:
            found[name] = sorted(str(one["metadata"]["name"]) for one in opening)
    return found


def refusal(scope: Scope, standing: Iterable[Observed]) -> Refused | None:
    """What to tell of those that were found; None where there are none."""
    found = [(one.address.name, name) for one in standing for name in _names(one.spec.get(OPENED))]
    if not found:
        return None
    known = sorted({name for _, name in found})
    return Refused(
        "\n".join(f"the NetworkPolicy {name}, which is not paictl's, opens the pods of {mine}" for mine, name in found),
        help=f"Have it leave out pods with the label app.kubernetes.io/instance={scope.agent}; or agree to it: "
        f"`kubectl annotate networkpolicy {' '.join(known)} {AGREED}={scope.agent}`.",
    )


def _names(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _mine(scope: Scope, live: Json) -> bool:
    return owner_of(scope, live["metadata"].get("labels")) == "mine"


def _labels(live: Json) -> Mapping[str, str]:
    """Those of the pods that it makes; none of what makes no pods."""
    spec = live.get("spec") or {}
    template = ((spec.get("jobTemplate") or {}).get("spec") or spec).get("template") or {}
    found: Mapping[str, str] = (template.get("metadata") or {}).get("labels") or {}
    return found


def _opens(scope: Scope, policy: Json, pods: Mapping[str, str]) -> bool:
    spec, metadata = policy["spec"], policy["metadata"]
    if (metadata.get("annotations") or {}).get(AGREED) == scope.agent:
        return False
    # Without a rule it allows nothing, and only closes.
    types = spec.get("policyTypes") or ("Ingress", "Egress")
    rules = any(spec.get(one.lower()) for one in types)
    return rules and _selects(spec.get("podSelector") or {}, pods)


def _selects(selector: Json, pods: Mapping[str, str]) -> bool:
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    return all(pods.get(key) == value for key, value in wanted.items()) and all(
        _meets(one, pods) for one in selector.get("matchExpressions") or ()
    )


def _meets(expression: Json, pods: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return pods.get(key) in values
        case "NotIn":
            return pods.get(key) not in values
        case "Exists":
            return key in pods
        case _:
            return key not in pods
