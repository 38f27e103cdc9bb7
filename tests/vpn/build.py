"""Builds the VPN's program as its Dockerfile does, and a peer for the tests, from the published modules by their sums; once."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from paictl.assets import asset
from tests.docker.debian import alone
from tests.kubernetes.build import go, home

__all__ = ["peer", "program"]

_MODULE = ("go.mod", "go.sum")


def program() -> Path:
    """What stands as the service ``vpn``."""
    return _built("vpn", asset("templates", "vpn", "main.go"))


def peer() -> Path:
    """Another one of the same protocol's implementation, at the other end (``client/main.go``)."""
    return _built("peer", Path(__file__).parent / "client" / "main.go")


def _built(name: str, source: Path) -> Path:
    module = [asset("templates", "vpn", one) for one in _MODULE]
    digest = hashlib.sha256(b"\0".join(one.read_bytes() for one in (source, *module))).hexdigest()
    found = home() / f"{name}-{digest[:12]}"
    if found.exists():
        return found
    with alone(f"vpn-{name}"):
        if not found.exists():
            _build(found, [source, *module])
            for old in found.parent.glob(f"{name}-????????????"):
                if old != found:
                    old.unlink()
    return found


def _build(found: Path, sources: list[Path]) -> None:
    found.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="paictl-vpn-") as folder:
        for one in sources:
            shutil.copy(one, folder)
        part = found.with_name(f"part-{found.name}")
        go("build", "-trimpath", "-ldflags=-s -w", "-o", str(part), ".", folder=Path(folder))
        part.rename(found)
