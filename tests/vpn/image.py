"""The VPN's image as its Dockerfile makes it, in a file as ``docker save`` writes it: no engine and no registry takes part."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shlex
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from paictl.blueprint.vpn_image import image
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.lease import Lease
from tests.kubernetes.node import Node
from tests.kubernetes.runtime_image import LOADER
from tests.vpn.build import program

__all__ = ["archive", "brought", "lacking"]

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def archive(folder: Path) -> Path:
    """A file with the image under the name that the blueprint gives it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        _add(tar, "vpn", program().read_bytes(), 0o755)
    config = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"User": "65532:65532", "Entrypoint": ["/vpn"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }
    path = folder / "vpn.tar"
    with tarfile.open(path, mode="w") as tar:
        _add(tar, "layer.tar", layer.getvalue())
        _add(tar, "config.json", _json(config))
        _add(tar, "manifest.json", _json([{"Config": "config.json", "RepoTags": [image()], "Layers": ["layer.tar"]}]))
    return path


def lacking(held: Lease) -> str:
    """Why no image can be brought to this cluster; empty when one can."""
    if _node(held) is None and not os.environ.get(LOADER):
        return f"how the cluster that is given takes images is not known: set {LOADER}"
    return ""


def brought(held: Lease, folder: Path) -> None:
    """Have it where the cluster's pods run. ``lacking`` must be empty."""
    node = _node(held)
    if node is not None:
        node.load(archive(folder))
    else:
        subprocess.run([*shlex.split(os.environ[LOADER]), str(archive(folder))], check=True, stdout=subprocess.DEVNULL)


def _node(held: Lease) -> Node | None:
    """Also of a cluster that ``python -m tests.kubernetes start`` keeps."""
    if held.node is not None:
        return held.node
    cluster = Cluster(held.access.kubeconfig.parent)
    return Node(cluster) if cluster.namespaces.first() else None


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
