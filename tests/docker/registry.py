"""A real registry on a free port of loopback, as the engine sees it: Debian's docker-registry, with images made by hand."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

from paictl.drivers.docker import images
from tests.docker.debian import RELEASE
from tests.docker.debian import program as packaged
from tests.waiting import until

__all__ = ["Registry", "image_file", "program", "served"]

_CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/images}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}"""


def program() -> str | None:
    """Where the registry's program is: installed, else out of its package; None where Debian's packages can't be had."""
    try:
        return shutil.which("docker-registry") or str(packaged("docker-registry", RELEASE, "usr/bin/docker-registry"))
    except (OSError, RuntimeError):
        return None


@dataclass(frozen=True)
class Registry:
    """A running one; its ``host`` begins the names of its images."""

    host: str
    api: docker.APIClient

    def push(self, name: str, content: str, architecture: str = "") -> str:
        """Publish an image with that content under ``name`` and forget it on the engine; its full name."""
        reference = f"{self.host}/{name}"
        image = image_file(reference, content, architecture or str(self.api.version()["Arch"]))
        list(self.api.load_image(image))  # type: ignore[no-untyped-call] # the SDK's stubs give it no types
        lines = list(self.api.push(reference, stream=True, decode=True))
        assert not [line for line in lines if "error" in line], lines
        self.api.remove_image(reference)
        return reference

    def forget(self) -> None:
        """Take every name that is of this registry off the engine, and the images that have no other."""
        for one in self.api.images():
            for name in (*(one["RepoTags"] or ()), *(one["RepoDigests"] or ())):
                if name.startswith(f"{self.host}/") and not name.endswith("<none>"):
                    images.remove(self.api, name)


def image_file(reference: str, content: str, architecture: str) -> bytes:
    """An image of one small file as `docker load` takes it, for any architecture."""
    layer = _tar({"content": content.encode()})
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/content"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]
    return _tar(
        {"config.json": json.dumps(config).encode(), "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    )


def _tar(files: dict[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return whole.getvalue()


@contextmanager
def served(api: docker.APIClient, folder: Path, *, closed: bool = False) -> Iterator[Registry]:
    """A registry that keeps its images in ``folder``; ``closed``: to nobody without a password, and nobody has one."""
    found = program()
    assert found
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text("", encoding="ascii")
    auth = f"auth: {{htpasswd: {{realm: closed, path: {folder}/htpasswd}}}}\n" if closed else ""
    (folder / "config.yml").write_text(_CONFIG.format(folder=folder, port=port, auth=auth), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([found, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        until(lambda: _answers(port), "the registry answers")
        yield Registry(f"127.0.0.1:{port}", api)
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0
