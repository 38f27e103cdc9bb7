"""Replaces ``${VAR}``, ``${VAR:-default}`` and ``${VAR:?message}`` in the strings of a file; ``$$`` is a dollar sign.

Only strings, never keys, never anything below ``secrets``: a secret's value must not pass through the manifest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from paictl.errors import Span
from paictl.manifest.findings import Findings, TreePath
from paictl.manifest.source import Source
from paictl.manifest.tree import merged_path

__all__ = ["substitute"]

_PART = re.compile(r"\$\$|\$\{(?P<body>[^}]*)(?P<close>\}?)")
_BODY = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:(?P<how>[-?])(?P<word>.*))?", re.DOTALL)


def substitute(source: Source, env: Mapping[str, str], findings: Findings) -> Source:
    """The same file with its variables replaced; everything malformed or unset is reported."""
    replaced = _Walk(source, env, findings).value(source.tree, ())
    return replace(source, tree=replaced)


@dataclass(frozen=True, slots=True)
class _Walk:
    source: Source
    env: Mapping[str, str]
    findings: Findings

    def value(self, value: Any, path: TreePath) -> Any:
        if isinstance(value, dict):
            return {key: self.value(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "$" not in value:
            return value
        return self._text(value, path)

    def _text(self, text: str, path: TreePath) -> str:
        span = self.source.places[path].value
        if _in_secrets(path):
            if "${" in text:
                self._report("a secret is a reference and takes no variables", span, _SECRET_ADVICE)
            return text
        return _PART.sub(lambda match: self._part(match, span), text)

    def _part(self, match: re.Match[str], span: Span) -> str:
        if match[0] == "$$":
            return "$"
        body = _BODY.fullmatch(match["body"])
        if body is None or not match["close"] or "${" in (body["word"] or ""):
            self._report(f"`{match[0]}` is not a variable", span, _FORM_ADVICE)
            return match[0]
        name, how, word = body["name"], body["how"], body["word"] or ""
        value = self.env.get(name)
        if how == "-":
            return value or word
        if how == "?" and not value:
            self._report(
                f"{name} is not set: {word}" if word else f"{name} is not set", span, f"set it: export {name}=…"
            )
        elif value is None:
            self._report(f"{name} is not set", span, f"set it, or give a default: ${{{name}:-…}}; a dollar sign is $$")
        return value or ""

    def _report(self, summary: str, span: Span, advice: str) -> None:
        self.findings.add("variable", summary, span, advice=advice)


_SECRET_ADVICE = "to read a secret from the environment, write {from: env, name: VARIABLE}"
_FORM_ADVICE = "write ${NAME}, ${NAME:-default} or ${NAME:?message}; a dollar sign is $$"


def _in_secrets(path: TreePath) -> bool:
    below = merged_path(path)
    return below[:2] == ("spec", "secrets")
