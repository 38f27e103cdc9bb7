"""Human quantities in a manifest (``10m``, ``365d``, ``8k``, ``60/min``, ``2M/day``, ``2 USD/day``) as numbers.

The patterns stand in the schema, so an editor checks them; the functions turn what matched into plain units.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

__all__ = [
    "Duration",
    "Money",
    "Rate",
    "Tokens",
    "parse_count",
    "parse_duration",
    "parse_rate",
]

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PERIODS = {"sec": 1, "min": 60, "hour": 3_600, "day": 86_400, "month": 2_592_000}
_COUNT = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_CONTEXT = {"": 1, "k": 1024}

Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]*(s|m|h|d|w)$", examples=["10m", "365d"])]
Rate = Annotated[str, Field(pattern=r"^[1-9][0-9]*(k|M|G)?/(sec|min|hour|day|month)$", examples=["60/min", "2M/day"])]
Money = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]{1,2})? [A-Z]{3}/(day|month)$", examples=["2 USD/day"])]
Tokens = Annotated[str, Field(pattern=r"^[1-9][0-9]*k?$", examples=["8k", "2048"])]


def parse_duration(text: str) -> int:
    """``10m`` -> 600 seconds."""
    number, unit = _split(text)
    return number * _SECONDS[unit]


def parse_rate(text: str) -> tuple[int, int]:
    """``2M/day`` -> (2_000_000, 86_400): how many in how many seconds."""
    left, period = text.split("/")
    number, unit = _split(left)
    return number * _COUNT[unit], _PERIODS[period]


def parse_count(text: str) -> int:
    """``8k`` -> 8_192 tokens of context (powers of two, as model cards count them)."""
    number, unit = _split(text)
    return number * _CONTEXT[unit]


def _split(text: str) -> tuple[int, str]:
    match = re.fullmatch(r"([0-9]+)([A-Za-z]*)", text)
    if match is None:
        message = f"not a quantity: {text!r}"
        raise ValueError(message)
    return int(match[1]), match[2]
