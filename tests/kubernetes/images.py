"""The images that a node has from the start: a pause, and a small one with a shell, in a file as ``docker save`` writes it.

Used by ``node`` and by tests. Made of Debian's static busybox; no Docker engine takes part.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

from tests.docker.debian import RELEASE, alone, program
from tests.kubernetes.build import home

__all__ = ["PAUSE", "TINY", "archive"]

PAUSE = "docker.io/paictl-test/pause:1"
"""What holds a pod's namespaces."""

TINY = "docker.io/paictl-test/busybox:1"
"""Busybox, run by anybody; without a command it waits."""

_USER = 65532
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PROGRAMS = (
    "sh",
    "cat",
    "echo",
    "httpd",
    "ls",
    "mkdir",
    "nc",
    "nslookup",
    "sleep",
    "test",
    "timeout",
    "true",
    "wget",
    "yes",
)


def archive() -> Path:
    """A file with both, made when it is not there."""
    path = home() / "images.tar"
    with alone("kubernetes-images"):
        made = _archive(_layer())
        if not path.exists() or path.read_bytes() != made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made)
    return path


def _archive(layer: bytes) -> bytes:
    settings = {"User": str(_USER), "Env": ["PATH=/bin"], "WorkingDir": "/", "Cmd": ["/bin/sleep", "2147483647"]}
    config = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    names = [PAUSE, TINY]
    manifest = [{"Config": "config.json", "RepoTags": names, "Layers": ["layer.tar"]}]
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        _add(tar, "layer.tar", layer)
        _add(tar, "config.json", _json(config))
        _add(tar, "manifest.json", _json(manifest))
    return whole.getvalue()


def _layer() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("data", 0o777)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        _add(tar, "bin/busybox", program("busybox-static", RELEASE, "bin/busybox").read_bytes(), 0o755)
        for name in _PROGRAMS:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
        _add(tar, "etc/passwd", f"nobody:x:{_USER}:{_USER}::/tmp:/bin/sh\n".encode())
    return made.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
