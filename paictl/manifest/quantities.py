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
    "Size",
    "Tokens",
    "parse_count",
    "parse_duration",
    "parse_money",
    "parse_rate",
    "parse_size",
]

_SECONDS = {
    "s": 1,
    "m": 60,
    "min": 60,
    "h": 3600,
    "d": 86400,
    "w": 604800,
    "sec": 1,
    "hour": 3600,
    "day": 86400,
    "month": 2592000,
}
_COUNT = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_CONTEXT = {"": 1, "k": 1024}
_BYTES = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}

Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]*(s|m|h|d|w)$", examples=["10m", "365d"])]
Rate = Annotated[str, Field(pattern=r"^[1-9][0-9]*(k|M|G)?/(sec|min|hour|day|month)$", examples=["60/min", "2M/day"])]
Money = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]{1,2})? [A-Z]{3}/(day|month)$", examples=["2 USD/day"])]
Size = Annotated[str, Field(pattern=r"^[1-9][0-9]*(KiB|MiB|GiB|KB|MB|GB)$", examples=["512MiB", "4GiB"])]
Tokens = Annotated[str, Field(pattern=r"^[1-9][0-9]*k?$", examples=["8k", "2048"])]


def parse_duration(text: str) -> int:
    """``10m`` -> 600 seconds."""
    number, unit = _split(text)
    return number * _SECONDS[unit]


def parse_rate(text: str) -> tuple[int, int]:
    """``2M/day`` -> (2_000_000, 86_400): how many in how many seconds."""
    left, period = text.split("/")
    number, unit = _split(left)
    return number * _COUNT[unit], _SECONDS[period]


def parse_money(text: str) -> tuple[int, str, int]:
    """``2 USD/day`` -> (200, "USD", 86_400): hundredths, currency, seconds."""
    amount, rest = text.split(" ")
    currency, period = rest.split("/")
    return round(float(amount) * 100), currency, _SECONDS[period]


def parse_size(text: str) -> int:
    """``4GiB`` -> 4_294_967_296 bytes."""
    number, unit = _split(text)
    return number * _BYTES[unit]


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
