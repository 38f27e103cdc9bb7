"""What can be known to fail on an engine before anything changes: a port taken, no memory, no space, no graphics card."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paictl.blueprint.types import Blueprint, Endpoint
from paictl.drivers.docker import images
from paictl.drivers.docker.connection import Connection
from paictl.drivers.docker.naming import AGENT, TARGET, image_repository
from paictl.engine.model import Observation
from paictl.errors import Refused

__all__ = ["check"]

# The image with its layers and the wheels it is built from, once.
_IMAGE_BYTES = 1200 << 20
_SPARE_BYTES = 64 << 20


def check(connection: Connection, blueprint: Blueprint, observation: Observation, *, offline: bool = False) -> None:
    """Raise ``Refused`` for the first thing in the way."""
    engine, info = connection.engine(), connection.api.info()
    if engine.os != "linux":
        raise Refused(f"the engine {engine.name} runs {engine.os} containers", help="paictl needs one for Linux.")
    _ports(connection, blueprint, local=engine.local)
    _memory(blueprint, info)
    _graphics(blueprint, info)
    if engine.local:
        _disk(blueprint, observation, Path(str(info["DockerRootDir"])))
    if offline:
        _images(connection, blueprint)


def _ports(connection: Connection, blueprint: Blueprint, *, local: bool) -> None:
    published = {
        port["PublicPort"]: one
        for one in connection.api.containers()
        for port in one.get("Ports") or ()
        if port.get("PublicPort")
    }
    for service in blueprint.services:
        for endpoint in service.endpoints if service.name else ():
            if not endpoint.public:
                continue
            by = published.get(endpoint.port)
            if by is not None and not _ours(blueprint, by):
                raise _taken(endpoint, f"the container {by['Names'][0].lstrip('/')}")
            if by is None and local and not _free(endpoint):
                raise _taken(endpoint, "another process of the engine's machine")


def _taken(endpoint: Endpoint, by: str) -> Refused:
    return Refused(
        f"port {endpoint.port} on {endpoint.bind} is taken by {by}",
        help="End it, or choose another port with `spec.gateway.port`.",
    )


def _ours(blueprint: Blueprint, container: Mapping[str, Any]) -> bool:
    marks = container["Labels"]
    return (marks.get(AGENT), marks.get(TARGET)) == (blueprint.agent, blueprint.target)


def _free(endpoint: Endpoint) -> bool:
    family = socket.AF_INET6 if ":" in endpoint.bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((endpoint.bind, endpoint.port))
        except PermissionError:
            # The engine may bind what this user may not.
            return True
        except OSError:
            return False
    return True


def _memory(blueprint: Blueprint, info: Mapping[str, Any]) -> None:
    needed, total = sum(service.limits.memory for service in blueprint.services), int(info["MemTotal"])
    if needed > total:
        raise Refused(
            f"the services need {needed >> 20} MiB of memory; the engine's machine has {total >> 20} MiB",
            help="`paictl fit` names models that fit.",
        )


def _graphics(blueprint: Blueprint, info: Mapping[str, Any]) -> None:
    wanted = [service.name for service in blueprint.services if service.gpus]
    if wanted and "nvidia" not in (info.get("Runtimes") or {}):
        raise Refused(
            f"{', '.join(wanted)}: a graphics card is wanted, and the engine has no runtime for one",
            help="Install the NVIDIA container toolkit on the engine's machine, or set `gpu: none`.",
        )


def _disk(blueprint: Blueprint, observation: Observation, root: Path) -> None:
    standing = {str(one.spec.get("sha256", one.spec.get("tag"))) for one in observation.resources}
    needed = sum(one.size for one in blueprint.weights if one.sha256 not in standing) + _SPARE_BYTES
    if not any(one.address.kind == "image" and one.address.name == "runtime" for one in observation.resources):
        needed += _IMAGE_BYTES
    try:
        free = shutil.disk_usage(root).free
    except OSError:
        return  # another user's, or another machine's after all: the engine itself will say so
    if free < needed:
        raise Refused(
            f"{root} has {free >> 20} MiB free, and {needed >> 20} MiB are needed there",
            help="Free some space (`docker system df` shows what takes it), or give the engine a larger disk.",
        )


def _images(connection: Connection, blueprint: Blueprint) -> None:
    repository = image_repository(blueprint.agent, "runtime")
    wanted = [service.upstream.reference for service in blueprint.services if service.upstream]
    if not connection.api.images(repository):
        wanted.append(blueprint.base)
    missing = [one for one in wanted if not images.present(connection.api, one)]
    if missing:
        raise Refused(
            f"{', '.join(missing)}: not on the engine, and --offline forbids to fetch",
            help="Run it once without --offline.",
        )
