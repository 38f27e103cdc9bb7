"""The image of the VPN's program, which nobody publishes: its name, and the sources that it is built from (templates/vpn)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Final

from paictl.assets import asset

__all__ = ["IMAGE", "image", "sources"]

IMAGE: Final = "wireguard"
"""Its name in the manifest's ``images``, for one that is in a registry."""

_SOURCES = ("Dockerfile", "go.mod", "go.sum", "main.go")


@cache
def sources() -> Mapping[str, str]:
    """Path in the build context -> text; all that the build needs beside Go and its modules, which are known by their sums."""
    return {name: asset("templates", "vpn", name).read_text(encoding="utf-8") for name in _SOURCES}


@cache
def image() -> str:
    """The name of the one with these sources: others are another image.

    In no registry's namespace, so that nobody else can have published something by this name.
    """
    total = hashlib.sha256()
    for name, text in sources().items():
        total.update(f"{name}\0{hashlib.sha256(text.encode()).hexdigest()}\n".encode())
    return f"localhost/paictl/vpn:{total.hexdigest()[:12]}"
