"""Checks what shared state requires of the rest of a manifest, and what requires shared state. Pure; called by ``check_rules``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from paictl.hosts import is_loopback
from paictl.manifest.findings import Finding, dotted
from paictl.manifest.tree import entries, mapping_at, text_at

__all__ = ["check_sharing"]

_PATH = ("spec", "state")
# service -> why two of it can't keep their state in files
_ALONE: Mapping[str, str] = {
    "gateway": "each would count half of what is spent, write an audit log of its own and remember half",
    "agent": "each would have half of the work in flight, and nobody would end what another began",
}


def check_sharing(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Every way in which the state can't be kept where the manifest says."""
    state = mapping_at(tree, *_PATH)
    if state.get("engine", "embedded") == "postgres":
        yield from _vectors(tree)
        yield from _classes(tree, state)
    elif state.get("engine", "embedded") == "embedded":
        yield from _several(tree)


def _several(tree: Mapping[str, Any]) -> Iterator[Finding]:
    for path, name, scale in entries(tree, "spec", "scale"):
        counts = [count for count in (scale.get("replicas"), scale.get("max")) if isinstance(count, int)]
        if name in _ALONE and max(counts, default=1) > 1:
            summary = f"several of {name} can't run over embedded state: {_ALONE[name]}"
            advice = "add `state: {engine: postgres}`, or let one run"
            yield Finding("scale-state", path, summary, advice, at_key=True)


def _vectors(tree: Mapping[str, Any]) -> Iterator[Finding]:
    memory = mapping_at(tree, "spec", "memory")
    if "embed" in memory and mapping_at(memory, "store").get("engine", "embedded") == "embedded":
        summary = "the vectors would be in a file, but the memories they belong to are in Postgres"
        advice = "add `store: {engine: pgvector}` to `spec.memory`: a managed one is the same Postgres"
        yield Finding("needs", ("spec", "memory", "embed"), summary, advice)


def _classes(tree: Mapping[str, Any], state: Mapping[str, Any]) -> Iterator[Finding]:
    """A database of somebody else's holds the texts themselves, so it is treated as an API model is."""
    host, given = _host(text_at(state, "url") or ""), state.get("classes") or ["public"]
    if not host or is_loopback(host) or not isinstance(given, list):
        return
    for below, name, space in entries(tree, "spec", "memory", "spaces"):
        class_ = space.get("class", "private")
        if class_ not in given:
            summary = f"the database at {host} may not hold the space `{name}`: it is {class_}"
            advice = (
                f"if it may, add {class_} to `{dotted(_PATH)}.classes`: whoever runs it can read what is remembered"
            )
            yield Finding("store-class", below, summary, advice, at_key=True)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""  # said by the types
