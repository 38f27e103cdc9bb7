"""What others put beside ours that opens it: NetworkPolicies that select our pods, bindings that give our accounts rights. Pure.

Both only ever add up. What is found is told beside our own policy or account, so that a plan names it; nobody but its owner
removes it, or agrees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from paictl.drivers.kubernetes.naming import owner_of
from paictl.engine.driver import Scope
from paictl.engine.model import Observed
from paictl.errors import Refused

__all__ = ["AGREED", "GRANTED", "OPENED", "openings", "refusal"]

Json = Mapping[str, Any]

OPENED, GRANTED = "opened", "granted"
"""The fields of a policy's and an account's spec that name what of others opens what it closes, or gives it rights."""

AGREED = "paictl/agreed"
"""An annotation on what is somebody's: the agent whose owner knows of it and wants it, such as for a monitoring system."""

_COMPONENT = "app.kubernetes.io/component"


def openings(scope: Scope, standing: Iterable[Json], bindings: Iterable[Json]) -> dict[tuple[str, str], dict[str, Any]]:
    """For each of our policies and accounts, by kind and name: the field that names what of others opens it."""
    lives = list(standing)
    policies = [one for one in lives if one["kind"] == "NetworkPolicy"]
    ours = {(one["kind"], one["metadata"]["name"]) for one in lives if _mine(scope, one)}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for pods in (_labels(one) for one in lives if _mine(scope, one)):
        policy = ("NetworkPolicy", pods.get(_COMPONENT, ""))
        opening = [one for one in policies if not _mine(scope, one) and _opens(scope, one, pods)]
        if policy in ours and opening:
            found[policy] = {OPENED: sorted(str(one["metadata"]["name"]) for one in opening)}
    given = [one for one in bindings if not _agreed(scope, one)]
    for account in ((kind, name) for kind, name in ours if kind == "ServiceAccount"):
        names = sorted(str(one["metadata"]["name"]) for one in given if _binds(one, account[1]))
        if names:
            found[account] = {GRANTED: names}
    return found


def refusal(scope: Scope, standing: Iterable[Observed]) -> Refused | None:
    """What to tell of those that were found; None where there are none."""
    told, helps = [], []
    for one in standing:
        for name in _names(one.spec.get(OPENED)):
            told.append(f"the NetworkPolicy {name}, which is not paictl's, opens the pods of {one.address.name}")
            out = f"leave out pods with the label app.kubernetes.io/instance={scope.agent}"
            helps.append(f"Have {name} {out}, or agree to it: {_agree(scope, 'networkpolicy', name)}")
        for name in _names(one.spec.get(GRANTED)):
            told.append(f"the RoleBinding {name} gives rights to the account {one.address.name}, which needs none")
            helps.append(f"Have {name} leave it out, or agree to it: {_agree(scope, 'rolebinding', name)}")
    return Refused("\n".join(told), help="\n".join(dict.fromkeys(helps))) if told else None


def _agree(scope: Scope, kind: str, name: str) -> str:
    return f"`kubectl annotate {kind} {name} {AGREED}={scope.agent}`."


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


def _agreed(scope: Scope, live: Json) -> bool:
    return bool((live["metadata"].get("annotations") or {}).get(AGREED) == scope.agent)


def _binds(binding: Json, account: str) -> bool:
    """Whether it means this very account: groups are a cluster's own matter."""
    namespace = binding["metadata"]["namespace"]
    return any(
        (one["kind"], one["name"], one.get("namespace", namespace)) == ("ServiceAccount", account, namespace)
        for one in binding.get("subjects") or ()
    )


def _opens(scope: Scope, policy: Json, pods: Mapping[str, str]) -> bool:
    spec = policy["spec"]
    if _agreed(scope, policy):
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
