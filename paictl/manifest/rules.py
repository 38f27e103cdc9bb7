"""Checks what types can't say: keys that exclude or require each other. Pure: a tree in, findings out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from paictl.hosts import is_loopback
from paictl.manifest.clusters import check_clusters
from paictl.manifest.findings import Finding, TreePath, dotted
from paictl.manifest.machines import check_hosts
from paictl.manifest.schedules import check_schedules
from paictl.manifest.sharing import check_sharing
from paictl.manifest.tree import entries, mapping_at, text_at
from paictl.manifest.updates import check_updates
from paictl.manifest.vpn import check_vpns

__all__ = ["check_rules"]


def check_rules(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Every combination of keys that means nothing."""
    for path, _, model in entries(tree, "spec", "models"):
        yield from _model(path, model)
    for path, _, files in entries(tree, "spec", "files"):
        yield from _exactly_one(path, files, ("dir", "s3", "gdrive"))
        yield from _only_with(
            path, files, ("secret",), allowed="dir" not in files, reason="a directory needs no secret"
        )
    for path, _, tool in entries(tree, "spec", "tools"):
        yield from _tool(path, tool)
    for path, _, secret in entries(tree, "spec", "secrets"):
        yield from _secret(path, secret)
    for path, _, target in entries(tree, "spec", "targets"):
        yield from _target(path, target)
    yield from _external(("spec", "memory", "store"), mapping_at(tree, "spec", "memory", "store"), _STORES)
    yield from _external(("spec", "state"), mapping_at(tree, "spec", "state"), _STATES)
    yield from _external(("spec", "orchestration"), mapping_at(tree, "spec", "orchestration"), _ORCHESTRATORS)
    yield from _spaces(tree)
    yield from _vectors(tree)
    yield from _gateway(tree)
    for path, _, scale in entries(tree, "spec", "scale"):
        yield from _scale(path, scale)
    yield from check_clusters(tree)
    yield from check_hosts(tree)
    yield from check_vpns(tree)
    yield from check_schedules(tree)
    yield from check_sharing(tree)
    yield from check_updates(tree)


# engine -> how it may be managed
_STORES = {"embedded": "managed", "pinecone": "external"}
_STATES = {"embedded": "managed"}
_ORCHESTRATORS = {"embedded": "managed"}

# engine -> the tasks it can serve
_TASKS = {
    "onnx": {"embed"},
    "llama.cpp": {"chat", "embed"},
    "mlc-llm": {"chat"},
    "whisper.cpp": {"transcribe"},
    "faster-whisper": {"transcribe"},
}


def _model(path: TreePath, model: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _exactly_one(path, model, ("select", "source", "provider", "url"))
    local = "select" in model or "source" in model
    yield from _only_with(path, model, ("sha256",), allowed="source" in model, reason="it is the hash of `source`")
    for key in ("engine", "threads", "gpu"):
        yield from _only_with(path, model, (key,), allowed=local, reason="the model runs elsewhere")
    yield from _only_with(path, model, ("model", "secret", "classes"), allowed=not local, reason="the model runs here")
    yield from _only_with(
        path, model, ("tokenizer",), allowed=model.get("task") == "embed", reason="only `task: embed` uses it"
    )
    if "provider" in model:
        yield from _required(path, model, ("model", "secret"), "`provider`")
    if "url" in model and model.get("manage") != "external":
        yield Finding(
            "needs",
            path,
            f"{dotted(path)} has a `url`, but paictl would manage it",
            "add `manage: external`",
            at_key=True,
        )
    if model.get("manage") == "external":
        yield from _required(path, model, ("url",), "`manage: external`")
    for below, block in ((path, model), ((*path, "tokenizer"), mapping_at(model, "tokenizer"))):
        source = text_at(block, "source") or ""
        if source.startswith(("https://", "http://")) and "sha256" not in block:
            advice = "add `sha256: …` of the file: what comes over the web must be what was meant"
            yield Finding("missing-hash", (*below, "source"), f"{dotted(below)} is downloaded without a hash", advice)
    engine, task = model.get("engine"), model.get("task")
    if isinstance(engine, str) and isinstance(task, str) and task not in _TASKS.get(engine, {task}):
        advice = f"{engine} serves {' and '.join(sorted(_TASKS[engine]))}; `engine: auto` chooses by task"
        yield Finding("not-with", (*path, "engine"), f"{engine} can't serve `task: {task}`", advice)


def _tool(path: TreePath, tool: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _exactly_one(path, tool, ("openapi", "mcp", "http", "webhook", "n8n"))
    yield from _only_with(
        path, tool, ("url",), allowed="openapi" in tool, reason="it is the base URL of an `openapi` description"
    )
    if "openapi" in tool:
        yield from _required(path, tool, ("url",), "`openapi`")
    if isinstance(tool.get("mcp"), Mapping):
        yield from _exactly_one((*path, "mcp"), tool["mcp"], ("command", "url"))


# from -> the keys it needs; `identity` may be added to age, `hosts` to all
_SECRET_KEYS: Mapping[str, tuple[str, ...]] = {
    "env": ("name",),
    "file": ("file",),
    "age": ("file", "key"),
    "keyring": ("service", "name"),
    "exec": ("command",),
    "kubernetes": ("name", "key"),
}
_ALL_SECRET_KEYS = ("name", "file", "key", "identity", "service", "command")


def _secret(path: TreePath, secret: Mapping[str, Any]) -> Iterator[Finding]:
    kind = secret.get("from")
    if not isinstance(kind, str) or kind not in _SECRET_KEYS:
        return
    needed = _SECRET_KEYS[kind]
    yield from _required(path, secret, needed, f"`from: {kind}`")
    for key in _ALL_SECRET_KEYS:
        allowed = key in needed or (kind, key) == ("age", "identity")
        takes = ", ".join(f"`{each}`" for each in needed)
        yield from _only_with(path, secret, (key,), allowed=allowed, reason=f"`from: {kind}` takes {takes}")


# key -> the drivers on which it means something
_TARGET_KEYS: Mapping[str, tuple[str, ...]] = {
    "hosts": ("ansible",),
    "machine": ("ansible",),
    "system": ("ansible",),
    "namespace": ("kubernetes",),
    "cluster": ("kubernetes",),
    "context": ("kubernetes", "docker"),
    "unconfined": ("native",),
    "start_on_boot": ("native",),
}


def _target(path: TreePath, target: Mapping[str, Any]) -> Iterator[Finding]:
    driver = target.get("driver")
    if not isinstance(driver, str):
        return
    for key, drivers in _TARGET_KEYS.items():
        reason = f"only driver {' or '.join(drivers)} uses it"
        yield from _only_with(path, target, (key,), allowed=driver in (*drivers, "fake"), reason=reason)
    if driver == "ansible" and "hosts" not in target:
        advice = "add `hosts: {NAME: {address: …}}`, or `hosts: {}` for this machine itself"
        yield Finding("needs", path, f"{dotted(path)} has no hosts to be applied to", advice, at_key=True)


def _external(path: TreePath, block: Mapping[str, Any], managed: Mapping[str, str]) -> Iterator[Finding]:
    engine, manage = block.get("engine", "embedded"), block.get("manage", "managed")
    only = managed.get(engine) if isinstance(engine, str) else None
    if only is not None and manage != only:
        summary = f"the engine {engine} can't be {manage}"
        where = (*path, "manage") if "manage" in block else (*path, "engine")
        yield Finding("not-with", where, summary, f"write `manage: {only}`")
        return
    if manage == "external":
        yield from _required(path, block, ("url",), "`manage: external`")
    keys = ("url", "secret", "classes")
    yield from _only_with(path, block, keys, allowed=manage == "external", reason="only with `manage: external`")


def _spaces(tree: Mapping[str, Any]) -> Iterator[Finding]:
    for path, name, space in entries(tree, "spec", "memory", "spaces"):
        if name == "session" and space.get("retain", "forever") != "session":
            where = (*path, "retain") if "retain" in space else path
            advice = "write `retain: session`, or give the space another name"
            yield Finding(
                "session-space",
                where,
                "the space `session` ends with the conversation",
                advice,
                at_key="retain" not in space,
            )


def _vectors(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """What a vector was made from can be guessed from it, so a store of somebody else's is treated as an API model is."""
    path: TreePath = ("spec", "memory", "store")
    memory, store = mapping_at(tree, "spec", "memory"), mapping_at(tree, "spec", "memory", "store")
    if store.get("engine", "embedded") == "embedded":
        return
    if "embed" not in memory:
        advice = "name a model of `task: embed` as `memory.embed`; without one, memories are found by their words alone"
        summary = f"nothing will be kept in the store: `{dotted(path[:-1])}.embed` is missing"
        yield Finding("store-unused", (*path, "engine"), summary, advice, severity="warning")
    host = _host(text_at(store, "url") or "")
    given = store.get("classes") or ["public"]
    if not host or is_loopback(host) or not isinstance(given, list):
        return
    for below, name, space in entries(tree, "spec", "memory", "spaces"):
        class_ = space.get("class", "private")
        if class_ not in given:
            summary = f"the store at {host} may not hold vectors of the space `{name}`: it is {class_}"
            advice = f"if it may, add {class_} to `{dotted(path)}.classes`: what a vector was made from can be guessed from it"
            yield Finding("store-class", below, summary, advice, at_key=True)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""  # said by the types


def _gateway(tree: Mapping[str, Any]) -> Iterator[Finding]:
    bind = text_at(tree, "spec", "gateway", "bind")
    if bind is None or bind == "localhost":
        return
    try:
        ipaddress.ip_address(bind)
    except ValueError:
        advice = "write 127.0.0.1 for this machine alone, or the address of one of its interfaces"
        yield Finding("invalid-value", ("spec", "gateway", "bind"), f"`{bind}` is not an IP address", advice)


def _scale(path: TreePath, scale: Mapping[str, Any]) -> Iterator[Finding]:
    replicas, most = scale.get("replicas", 1), scale.get("max")
    if isinstance(replicas, int) and isinstance(most, int) and most < replicas:
        summary = f"at most {most} of them may run, but {replicas} should"
        advice = f"write `max: {replicas}` or more, or leave it out"
        yield Finding("out-of-range", (*path, "max"), summary, advice)
    grows = isinstance(replicas, int) and isinstance(most, int) and most > replicas
    yield from _only_with(
        path, scale, ("cpu",), allowed=grows, reason="it says when more run, up to a `max` above `replicas`"
    )


def _exactly_one(path: TreePath, block: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[Finding]:
    given = [key for key in block if key in keys]
    listed = f"{', '.join(keys[:-1])} or {keys[-1]}"
    if not given:
        yield Finding("exactly-one", path, f"{dotted(path)} needs one of {listed}", "add one of them", at_key=True)
    for key in given[1:]:
        summary = f"{dotted(path)} has both `{given[0]}` and `{key}`"
        yield Finding("exactly-one", (*path, key), summary, f"keep exactly one of {listed}", at_key=True)


def _required(path: TreePath, block: Mapping[str, Any], keys: Iterable[str], what: str) -> Iterator[Finding]:
    for key in keys:
        if block.get(key) in (None, ""):
            yield Finding(
                "needs", path, f"{dotted(path)} needs `{key}`", f"{what} requires it: add `{key}: …`", at_key=True
            )


# Spelled-out defaults, as `paictl config` prints them.
_SAYS_NOTHING: tuple[Any, ...] = (None, False, "auto", "none", [], {})


def _only_with(
    path: TreePath, block: Mapping[str, Any], keys: tuple[str, ...], *, allowed: bool, reason: str
) -> Iterator[Finding]:
    for key in keys:
        if key in block and block[key] not in _SAYS_NOTHING and not allowed:
            yield Finding(
                "not-with",
                (*path, key),
                f"`{key}` has no meaning in {dotted(path)}",
                f"remove it: {reason}",
                at_key=True,
            )
