"""Every version of the manifest that was ever released: its frozen parser, and the upgrade to the next one.

Old versions read forever. An entry is never changed, only followed by another; the last one is the current version.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from paictl.manifest.models import API_VERSION, Agent

__all__ = ["VERSIONS", "Upgrade", "Version", "find_version"]

# Changes a whole document in place to the next version. The tree is ruamel's round-trip tree: what an upgrader moves
# keeps its comments. It needs not set ``apiVersion``.
Upgrade = Callable[[MutableMapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Version:
    """One ``apiVersion``. ``upgrade`` leads to the next entry; the current version has none."""

    api_version: str
    parser: type[BaseModel]
    upgrade: Upgrade | None = None


VERSIONS: tuple[Version, ...] = (Version(API_VERSION, Agent),)


def find_version(api_version: object, versions: tuple[Version, ...] = VERSIONS) -> int | None:
    """The index of a version in the chain."""
    return next((index for index, each in enumerate(versions) if each.api_version == api_version), None)
