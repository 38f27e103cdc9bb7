"""Checks what a manifest says of its hosts: which models each of them runs, and where everything else does. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paictl.manifest.findings import Finding, TreePath, dotted, nearest
from paictl.manifest.tree import entries, list_at, mapping_at

__all__ = ["check_hosts", "home"]


def home(hosts: Mapping[str, bool]) -> str:
    """Where everything lives that no host is told to run; ``hosts`` says of each, in order, whether it is told of any."""
    if len(hosts) == 1:
        return next(iter(hosts))
    return next((name for name, told in hosts.items() if not told), "")


def check_hosts(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything about `targets.*.hosts` that types can't say."""
    models = mapping_at(tree, "spec", "models")
    for path, _, target in entries(tree, "spec", "targets"):
        hosts = mapping_at(target, "hosts")
        if hosts and not home({name: bool(list_at(host, "runs")) for name, host in hosts.items()}):
            advice = "leave `runs` out of one: gateway and agent live there, with every model that no other host runs"
            summary = f"every host of {dotted(path)} only runs models for another"
            yield Finding("needs", (*path, "hosts"), summary, advice, at_key=True)
        taken: dict[object, str] = {}
        for below, name, host in entries(target, "hosts"):
            for index, model in enumerate(list_at(host, "runs")):
                yield from _runs((*path, *below, "runs", index), model, models, taken)
                taken.setdefault(model, name)


def _runs(path: TreePath, name: object, models: Mapping[str, Any], taken: Mapping[object, str]) -> Iterator[Finding]:
    if not isinstance(name, str):
        return  # said by the types
    if name not in models:
        yield Finding("unknown-reference", path, f"there is no model `{name}`", nearest(name, models, "models"))
    elif not {"select", "source"} & set(mapping_at(models, name)):
        advice = "take it out: it runs elsewhere, and the gateway calls it"
        yield Finding("not-with", path, f"the model `{name}` is no host's to run", advice)
    elif name in taken:
        advice = "take it out of one of them: one server answers for each model"
        yield Finding("not-with", path, f"the model `{name}` runs on {taken[name]} already", advice)
