"""Checks what a manifest says of its clusters: keys that need or exclude each other, names that nobody declares. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from paictl.manifest.findings import Finding, TreePath, dotted, nearest
from paictl.manifest.tree import entries, list_at, mapping_at

__all__ = ["check_clusters"]

# kind -> the keys that the other one has
_NOT_OF: Mapping[str, tuple[str, ...]] = {"ingress": ("gateway",), "gateway": ("class", "annotations")}
_NEEDED: Mapping[str, tuple[str, ...]] = {"ingress": ("host", "tls"), "gateway": ("host", "tls", "gateway")}
_WHY: Mapping[str, str] = {
    "host": "people reach it by a name",
    "tls": "nobody talks to an agent over an open network without TLS",
    "gateway": "an HTTPRoute belongs to a Gateway",
}


def check_clusters(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything about `targets.*.cluster` that types can't say."""
    for path, _, target in entries(tree, "spec", "targets"):
        below: TreePath = (*path, "cluster")
        cluster = mapping_at(target, "cluster")
        if isinstance(cluster.get("ingress"), Mapping):
            yield from _ingress((*below, "ingress"), mapping_at(cluster, "ingress"))
        for index, toleration in enumerate(list_at(cluster, "tolerations")):
            if isinstance(toleration, Mapping):
                yield from _toleration((*below, "tolerations", index), toleration)
        known = mapping_at(tree, "spec", "secrets")
        for name in mapping_at(cluster, "external_secrets", "keys"):
            if name not in known:
                where = (*below, "external_secrets", "keys", name)
                advice = nearest(name, known, "secrets")
                yield Finding("unknown-reference", where, f"there is no secret `{name}`", advice, at_key=True)


def _ingress(path: TreePath, ingress: Mapping[str, Any]) -> Iterator[Finding]:
    kind = ingress.get("kind", "ingress")
    if kind not in _NEEDED:
        return
    for key in _NEEDED[kind]:
        if ingress.get(key) in (None, ""):
            summary = f"{dotted(path)} needs `{key}`"
            yield Finding("needs", path, summary, f"{_WHY[key]}: add `{key}: …`", at_key=True)
    for key in _NOT_OF[kind]:
        if ingress.get(key):
            other = next(one for one in _NOT_OF if one != kind)
            summary = f"`{key}` has no meaning in {dotted(path)}"
            yield Finding("not-with", (*path, key), summary, f"remove it: only `kind: {other}` uses it", at_key=True)
    if not ingress.get("namespace") and not ingress.get("blocks"):
        advice = "add `namespace:` of the controller's pods, or `blocks:` of a load balancer outside of the cluster"
        summary = f"nothing says where requests come from to {dotted(path)}, and everything else is kept out"
        yield Finding("needs", path, summary, advice, at_key=True)
    for index, block in enumerate(list_at(ingress, "blocks")):
        try:
            ipaddress.ip_network(str(block))
        except ValueError as no:
            yield Finding("invalid-value", (*path, "blocks", index), f"`{block}` is no block of addresses", f"{no}")


def _toleration(path: TreePath, toleration: Mapping[str, Any]) -> Iterator[Finding]:
    exists = toleration.get("operator", "Equal") == "Exists"
    if exists and toleration.get("value") is not None:
        advice = "remove it: `operator: Exists` is about any value"
        yield Finding("not-with", (*path, "value"), f"`value` has no meaning in {dotted(path)}", advice, at_key=True)
    if not exists and toleration.get("key") is None:
        advice = "add `key: …`, or `operator: Exists` for every taint"
        yield Finding("needs", path, f"{dotted(path)} needs `key`", advice)
