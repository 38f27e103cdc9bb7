"""The empty image, ``paictl/empty:1``: containers that never run are made from it, to hold a lock or a volume.

It is loaded, not imported: its content is always the same to the byte, so that several that load it at once make one image.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.naming import KIND
from paictl.drivers.docker.troubles import EngineError, refused

__all__ = ["IMAGE", "create", "remove", "tar_of"]

IMAGE = "paictl/empty:1"


def create(
    connection: Connection, name: str, labels: Mapping[str, str], volumes: Mapping[str, str] | None = None
) -> str:
    """Create, without starting, a container of that name, and tell its id; raises ``EngineError`` 409 when the name is taken.

    ``volumes``: name -> where it is mounted.
    """
    while True:
        try:
            with connection.told(f"creating {name}"):
                return _create(connection, name, labels, volumes or {})
        except EngineError as error:
            if error.status != 404 or IMAGE not in error.summary:
                raise
        with connection.told(f"loading {IMAGE}"):
            load: Any = connection.api.load_image  # published without types
            # The engine has loaded it when it has said everything; also that it failed (a full disk) stands in what it says.
            errors = [one["error"] for one in load(_image(connection.arch)) if "error" in one]
            if errors:
                raise refused(500, errors[-1], f"loading {IMAGE}")


def remove(connection: Connection) -> None:
    """Remove the image, unless some container is made from it: the engine refuses that by itself."""
    with suppress(EngineError), connection.told(f"removing {IMAGE}"):
        connection.api.remove_image(IMAGE)


def tar_of(files: Mapping[str, bytes], modified: int = 0) -> bytes:
    """A tar archive of these files, the same to the byte for the same content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o600, modified
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _create(connection: Connection, name: str, labels: Mapping[str, str], volumes: Mapping[str, str]) -> str:
    host: dict[str, Any] = {"NetworkMode": "none", "ReadonlyRootfs": False}
    host["Mounts"] = [
        {"Type": "volume", "Source": source, "Target": target, "VolumeOptions": {"NoCopy": True}}
        for source, target in volumes.items()
    ]
    build: Any = connection.api.create_container_from_config  # published without types
    made = build({"Image": IMAGE, "Cmd": ["never started"], "Labels": dict(labels), "HostConfig": host}, name)
    return str(made["Id"])


def _image(arch: str) -> bytes:
    """What `docker save` would write: one layer with one empty directory."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        entry = tarfile.TarInfo("paictl")
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(entry)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": arch,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Labels": {KIND: "empty"}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "paictl"}],
    }
    described = json.dumps(config, sort_keys=True).encode()
    name = f"{hashlib.sha256(described).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    return tar_of({name: described, "layer.tar": layer.getvalue(), "manifest.json": json.dumps(manifest).encode()})
