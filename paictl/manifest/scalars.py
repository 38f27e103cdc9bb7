"""What an unquoted YAML scalar means, by the core schema of YAML 1.2.2, chapter 10.3: no ``yes``, no octal surprise, no dates."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["plain_value"]

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_FORMS: tuple[tuple[re.Pattern[str], Callable[[str], int | float]], ...] = (
    (re.compile(r"[-+]?[0-9]{1,18}"), int),
    (re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,16}"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), lambda text: float(text.replace(".", "", 1))),
)


def plain_value(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar. Longer integers become floats: no field of a manifest is that large."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "+-.0123456789":
        for form, convert in _FORMS:
            if form.fullmatch(text):
                return convert(text)
    return text
