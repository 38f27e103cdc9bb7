"""The names, labels and annotations by which everything of one agent is known in a namespace. Pure; used by every module of the driver."""

from __future__ import annotations

from collections.abc import Mapping

from paictl.engine.driver import Scope
from paictl.engine.model import Address, Owner

__all__ = [
    "AGENT",
    "APPLIED",
    "DRIVER",
    "FINGERPRINT",
    "HOLDS_DATA",
    "MANAGER",
    "NEEDS",
    "OURS",
    "TARGET",
    "TRIED",
    "labels",
    "needs_of",
    "owner_of",
]

DRIVER = "kubernetes"
MANAGER = "paictl"
"""The field manager of everything that is applied."""

AGENT, TARGET = "paictl/agent", "paictl/target"
"""Labels: whose it is."""

FINGERPRINT, NEEDS, HOLDS_DATA, APPLIED = "paictl/fingerprint", "paictl/needs", "paictl/holds-data", "paictl/applied"
"""Annotations. ``APPLIED`` is the document as it was applied: what a live object is compared with."""

TRIED = "paictl/tried"
"""Annotation: when its controller was last asked to try again, which it does as soon as anything about it changes."""

OURS = frozenset({FINGERPRINT, NEEDS, HOLDS_DATA, APPLIED, TRIED})


def labels(scope: Scope) -> dict[str, str]:
    """What everything that the driver makes carries."""
    return {AGENT: scope.agent, TARGET: scope.target}


def owner_of(scope: Scope, found: Mapping[str, str] | None) -> Owner:
    """Whose it is by its labels."""
    marks = found or {}
    if AGENT not in marks:
        return "unlabelled"
    return "mine" if (marks[AGENT], marks.get(TARGET)) == (scope.agent, scope.target) else "foreign"


def needs_of(scope: Scope, found: Mapping[str, str] | None) -> tuple[Address, ...]:
    """What it was made after, by its annotation: so that a destroy without any state goes the reverse way."""
    split = (one.partition("/") for one in (found or {}).get(NEEDS, "").split())
    return tuple(Address(scope.target, DRIVER, kind, name) for kind, _, name in split)
