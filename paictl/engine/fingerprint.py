"""The label by which a resource's spec is recognised again: versioned and normalised, so that new optional fields change none.

Written by drivers on what they make (``Step.fingerprint``), compared by the planner. Pure.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping

__all__ = ["absent", "fingerprint", "known_version", "matches", "normalise"]

_DIGITS = 32  # 128 bits of SHA-256: labels stay short, and nobody chooses specs to collide


def normalise(value: object) -> object:
    """JSON data in its one canonical form.

    Inside a mapping, what is None, False or empty is the same as absent: a field that a later release adds, with such a
    default, changes no fingerprint. Zero is a value. ``1.0`` is ``1``. Lists keep their length and order.
    """
    if isinstance(value, Mapping):
        pairs = ((str(key), normalise(value[key])) for key in sorted(value, key=str))
        return {key: inner for key, inner in pairs if not absent(inner)}
    if isinstance(value, list | tuple):
        return [normalise(inner) for inner in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            message = f"{value} is not JSON data"
            raise ValueError(message)
        return int(value) if value.is_integer() else value
    if value is None or isinstance(value, str | bool | int):
        return value
    message = f"{type(value).__name__} is not JSON data"
    raise TypeError(message)


def absent(value: object) -> bool:
    """Whether a normalised value is the same as none at all."""
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)


def _v1(spec: Mapping[str, object]) -> str:
    text = json.dumps(normalise(spec), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


# Every version that was ever released stays here: a label is compared by the rules it was written under.
_VERSIONS: Mapping[str, Callable[[Mapping[str, object]], str]] = {"v1": _v1}
_CURRENT = "v1"


def fingerprint(spec: Mapping[str, object]) -> str:
    """The label of a spec, such as ``v1:2c26b46b68ffc68ff99b453c1d304134``."""
    return f"{_CURRENT}:{_VERSIONS[_CURRENT](spec)}"


def known_version(label: str) -> bool:
    """Whether the label can be compared at all; not so for an empty one, nor for one that a newer paictl wrote."""
    return label.partition(":")[0] in _VERSIONS


def matches(spec: Mapping[str, object], label: str, current: str) -> bool:
    """Whether the label was written for this spec. ``current`` is ``fingerprint(spec)``, computed once by the caller."""
    if label == current:
        return True
    version, _, digest = label.partition(":")
    rule = _VERSIONS.get(version)
    return rule is not None and version != _CURRENT and rule(spec) == digest
