"""Reads the rendered compose.yaml back: the few value forms of the Compose specification that the template uses. Pure."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["bytes_of", "parse", "port_of", "seconds_of", "tmpfs_of"]

# https://github.com/compose-spec/compose-spec/blob/main/11-extension.md, "Specifying byte values" and "durations".
_BYTES = re.compile(r"([0-9]+)([bkmg]?)b?", re.IGNORECASE)
_UNIT = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DURATION = re.compile(r"(?:([0-9]+)m)?(?:([0-9.]+)s)?")


def parse(text: str) -> dict[str, Any]:
    """The document, merge keys resolved and doubled dollar signs single again. Variables stay as they are."""
    from ruamel.yaml import YAML

    found: dict[str, Any] = _plain(YAML(typ="safe", pure=False).load(io.StringIO(text)))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def bytes_of(value: object) -> int:
    """``256m``, ``1g`` or a plain number, in bytes; raises ``ValueError`` for anything else."""
    found = _BYTES.fullmatch(str(value))
    if found is None:
        raise ValueError(f"not a number of bytes: {value!r}")
    return int(found[1]) * _UNIT[found[2].lower()]


def seconds_of(value: object) -> int:
    """``10s`` or ``1m30s``, in seconds; raises ``ValueError`` for anything else."""
    found = _DURATION.fullmatch(str(value))
    if found is None or not any(found.groups()):
        raise ValueError(f"not a duration: {value!r}")
    return round(int(found[1] or 0) * 60 + float(found[2] or 0))


def port_of(value: str) -> dict[str, Any]:
    """``ADDRESS:PUBLISHED:PORT[/udp]`` in parts; the address may be an IPv6 one in brackets."""
    address, published, port = value.rsplit(":", 2)
    number, _, protocol = port.partition("/")
    parts = {"address": address.strip("[]"), "published": int(published), "port": int(number)}
    return parts | ({"protocol": protocol} if protocol else {})


def tmpfs_of(value: Sequence[str]) -> Mapping[str, str]:
    """``PATH:OPTIONS`` entries by path."""
    split = (one.partition(":") for one in value)
    return {path: options for path, _, options in split}
