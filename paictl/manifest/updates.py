"""Checks what `spec.updates` says of the repository that a machine follows. Pure: a tree in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from paictl.manifest.findings import Finding, TreePath, nearest
from paictl.manifest.tree import mapping_at, text_at

__all__ = ["check_updates"]

_PATH: TreePath = ("spec", "updates")


def check_updates(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything about it that types can't say."""
    updates = mapping_at(tree, "spec", "updates")
    if not updates:
        return
    yield from _repository(text_at(updates, "git") or "")
    yield from _folder(text_at(updates, "path"))
    yield from _key(tree, updates)


def _repository(git: str) -> Iterator[Finding]:
    try:
        parts = urlsplit(git)
        user = parts.scheme == "https" and parts.username is not None
    except ValueError:
        yield Finding("invalid-value", (*_PATH, "git"), f"`{git}` is not an address", "correct it")
        return
    # A password beside it is told as every other secret that stands in a manifest.
    if user and parts.password is None:
        advice = "take it out; a private repository is read over ssh, with `key` and `known-hosts`"
        yield Finding("invalid-value", (*_PATH, "git"), "the address of the repository has a login in it", advice)


def _folder(path: str | None) -> Iterator[Finding]:
    if path is None:
        return
    parts = path.rstrip("/").split("/")
    if not path or path.startswith(("/", "-", "~")) or {"", "..", ".git"} & set(parts) or not path.isprintable():
        advice = "write the folder in the repository that holds agent.yaml, such as `atlas`; `.` is its top"
        yield Finding("invalid-value", (*_PATH, "path"), f"`{path}` is no folder within the repository", advice)


def _key(tree: Mapping[str, Any], updates: Mapping[str, Any]) -> Iterator[Finding]:
    key = text_at(updates, "key")
    if (text_at(updates, "git") or "").startswith("https://"):
        for name in ("key", "known-hosts"):
            if updates.get(name):
                summary = f"`{name}` has no meaning for a repository behind https"
                advice = "remove it: https:// is for a repository that everybody may read; ssh:// uses a key"
                yield Finding("not-with", (*_PATH, name), summary, advice, at_key=True)
        return
    secrets = mapping_at(tree, "spec", "secrets")
    if key and key not in secrets:
        advice = (
            nearest(key, secrets, "secrets") if secrets else f"declare it: secrets: {{{key}: {{from: file, file: …}}}}"
        )
        yield Finding("unknown-reference", (*_PATH, "key"), f"there is no secret `{key}`", advice)
