"""Finds secrets that stand in a manifest as they are, and keeps their text out of every message."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from paictl.manifest.findings import Findings, TreePath, dotted
from paictl.manifest.source import Source
from paictl.manifest.tree import merged_path

__all__ = ["find_literals"]

# Prefixes that providers publish so that scanners can find leaked keys.
_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])sk-[A-Za-z0-9_-]{16,}|sk_live_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}"
    r"|hf_[A-Za-z0-9]{30,}|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|ya29\.[\w-]{20,}"
    r"|AGE-SECRET-KEY-1[0-9A-Z]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY-----|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+"
)
_CREDENTIALS = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@")
# Keys that people write into a secret when they mean to give its value.
_VALUE_KEYS = frozenset({"value", "token", "password", "api_key", "apiKey", "secret", "literal"})

_ADVICE = "write a reference, such as {from: env, name: VARIABLE}, and change the secret: it was written to a file"
_URL_ADVICE = "take the user and password out of the address; declare a secret and name it with `secret`"


def find_literals(source: Source, findings: Findings) -> None:
    """Report every literal secret of one file."""
    for path, value, in_secrets in _strings(source.tree, ()):
        if in_secrets:
            summary, advice = f"{dotted(path)} holds a secret's value", _ADVICE
        elif _CREDENTIALS.search(value):
            summary, advice = f"{dotted(path)} holds a password", _URL_ADVICE
        elif _KEY.search(value):
            summary, advice = f"{dotted(path)} looks like a secret's value", _ADVICE
        else:
            continue
        span = source.places[path].value
        findings.mask(span)
        findings.add("literal-secret", summary, span, advice=advice)


def _strings(value: Any, path: TreePath) -> Iterator[tuple[TreePath, str, bool]]:
    """Every string with its path, and whether a secret's value is what belongs there."""
    if isinstance(value, str):
        yield path, value, _is_value_of_secret(path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, (*path, index))


def _is_value_of_secret(path: TreePath) -> bool:
    below = merged_path(path)
    if below[:2] != ("spec", "secrets"):
        return False
    return len(below) == 3 or (len(below) == 4 and below[3] in _VALUE_KEYS)
