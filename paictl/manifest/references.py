"""Checks that every name in a manifest refers to something that it declares. Pure: a tree in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from paictl.manifest.findings import Finding, TreePath, dotted, nearest
from paictl.manifest.tree import entries, list_at, mapping_at, text_at

__all__ = ["check_references"]


def check_references(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Every name that refers to nothing, or to the wrong kind of thing."""
    yield from _routing(tree)
    yield from _embedding(tree)
    yield from _secrets(tree)
    yield from _logins(tree)
    yield from _secret_hosts(tree)
    yield from _people(tree)
    yield from _rights(tree)
    yield from _scaled(tree)


def _routing(tree: Mapping[str, Any]) -> Iterator[Finding]:
    for task in mapping_at(tree, "spec", "routing"):
        for index, name in enumerate(list_at(tree, "spec", "routing", task)):
            if isinstance(name, str):
                yield from _model(tree, ("spec", "routing", task, index), name, task)


def _embedding(tree: Mapping[str, Any]) -> Iterator[Finding]:
    name = text_at(tree, "spec", "memory", "embed")
    if name is not None:
        yield from _model(tree, ("spec", "memory", "embed"), name, "embed")


_TASKS = {"chat", "embed", "transcribe"}


def _model(tree: Mapping[str, Any], path: TreePath, name: str, task: str) -> Iterator[Finding]:
    models = mapping_at(tree, "spec", "models")
    if name not in models:
        yield Finding("unknown-reference", path, f"there is no model `{name}`", nearest(name, models, "models"))
        return
    its_task = text_at(models, name, "task")
    if its_task != task and {its_task, task} <= _TASKS:
        fitting = [each for each in models if text_at(models, each, "task") == task]
        advice = f"models for {task}: {', '.join(fitting)}" if fitting else f"declare a model with `task: {task}`"
        yield Finding("wrong-task", path, f"the model `{name}` is for {its_task}, not for {task}", advice)


def _secret_uses(tree: Mapping[str, Any]) -> Iterator[tuple[TreePath, str, Mapping[str, Any]]]:
    """Every block that names a secret."""
    blocks = [
        (("spec", "memory", "store"), mapping_at(tree, "spec", "memory", "store")),
        (("spec", "state"), mapping_at(tree, "spec", "state")),
        (("spec", "orchestration"), mapping_at(tree, "spec", "orchestration")),
        (("spec", "backup"), mapping_at(tree, "spec", "backup")),
        *((path, block) for kind in ("models", "files", "tools") for path, _, block in entries(tree, "spec", kind)),
    ]
    for path, block in blocks:
        if isinstance(block.get("secret"), str):
            yield path, block["secret"], block


def _secrets(tree: Mapping[str, Any]) -> Iterator[Finding]:
    secrets = mapping_at(tree, "spec", "secrets")
    for path, name, _ in _secret_uses(tree):
        if name not in secrets:
            advice = (
                nearest(name, secrets, "secrets")
                if secrets
                else f"declare it: secrets: {{{name}: {{from: env, name: …}}}}"
            )
            yield Finding("unknown-reference", (*path, "secret"), f"there is no secret `{name}`", advice)


def _logins(tree: Mapping[str, Any]) -> Iterator[Finding]:
    secrets = mapping_at(tree, "spec", "secrets")
    for path, _, target in entries(tree, "spec", "targets"):
        for host, login in mapping_at(target, "hosts").items():
            for key in ("password", "become_password"):
                name = login.get(key) if isinstance(login, Mapping) else None
                if isinstance(name, str) and name not in secrets:
                    advice = f"declare it: secrets: {{{name}: {{from: env, name: …}}}}"
                    where = (*path, "hosts", host, key)
                    yield Finding("unknown-reference", where, f"there is no secret `{name}`", advice)


def _secret_hosts(tree: Mapping[str, Any]) -> Iterator[Finding]:
    for path, name, block in _secret_uses(tree):
        if name not in mapping_at(tree, "spec", "secrets"):
            continue
        hosts = [str(host) for host in list_at(tree, "spec", "secrets", name, "hosts")]
        here = ("spec", "secrets", name)
        if isinstance(block.get("provider"), str) and not hosts:
            summary = f"the secret `{name}` is used by {dotted(path)}, but may be sent nowhere"
            yield Finding("secret-host", here, summary, "add `hosts: [the provider's host]`", at_key=True)
        for key in ("url", "http", "webhook"):
            host = _host(block.get(key))
            if host and not any(fnmatchcase(host, allowed.lower()) for allowed in hosts):
                summary = f"the secret `{name}` may not be sent to {host}"
                advice = f"add {host} to the `hosts` of spec.secrets.{name}"
                yield Finding("secret-host", (*path, "secret"), summary, advice)


def _host(url: object) -> str:
    if not isinstance(url, str):
        return ""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _people(tree: Mapping[str, Any]) -> Iterator[Finding]:
    roles = mapping_at(tree, "spec", "permissions", "roles")
    owner = text_at(tree, "metadata", "owner")
    if "owner" in roles:
        defined: TreePath = ("spec", "permissions", "roles", "owner")
        yield Finding("owner-role", defined, "`owner` is no role to define", "the owner may do everything", at_key=True)
    for name, person in mapping_at(tree, "spec", "permissions", "people").items():
        path: TreePath = ("spec", "permissions", "people", name)
        role = person
        if isinstance(person, Mapping):
            role, path = person.get("role"), (*path, "role")
        if not isinstance(role, str):
            continue
        if role != "owner" and role not in roles:
            yield Finding(
                "unknown-reference", path, f"there is no role `{role}`", nearest(role, ["owner", *roles], "roles")
            )
        elif name == owner and role != "owner":
            advice = "remove this line, or name another `metadata.owner`"
            yield Finding("owner-role", path, f"{name} is the owner, and the owner has every right", advice)


def _rights(tree: Mapping[str, Any]) -> Iterator[Finding]:
    spec = mapping_at(tree, "spec")
    known = {
        "memory": ("space", "spaces", mapping_at(spec, "memory", "spaces")),
        "workflow": (
            "workflow or skill",
            "workflows and skills",
            {**mapping_at(spec, "workflows"), **mapping_at(spec, "skills")},
        ),
        "files": ("folder under files", "folders", mapping_at(spec, "files")),
        "tool": ("tool", "tools", mapping_at(spec, "tools")),
    }
    for role in mapping_at(spec, "permissions", "roles"):
        for index, right in enumerate(list_at(spec, "permissions", "roles", role, "may")):
            action, _, resource = str(right).partition(":")
            kind, kinds, names = known.get(action.split(".")[0], ("", "", {}))
            name = resource.split("/")[0]
            if kind and name and not any(fnmatchcase(each, name) for each in names) and name != "*":
                path = ("spec", "permissions", "roles", role, "may", index)
                yield Finding("unknown-reference", path, f"there is no {kind} `{name}`", nearest(name, names, kinds))


def _scaled(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """How many of a service that nobody declares."""
    models = [
        f"model-{name}" for _, name, model in entries(tree, "spec", "models") if {"select", "source"} & set(model)
    ]
    known = ["gateway", "agent", *models]
    for name in mapping_at(tree, "spec", "scale"):
        if name not in known:
            advice = f"services that can be scaled: {', '.join(known)}"
            yield Finding(
                "unknown-reference", ("spec", "scale", name), f"there is no service `{name}`", advice, at_key=True
            )
