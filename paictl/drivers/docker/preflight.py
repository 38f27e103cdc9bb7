"""What can be known to fail on an engine before anything changes: a port taken, no memory, no space, no graphics card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paictl.blueprint.types import Blueprint
from paictl.drivers.docker import obtainable, ports
from paictl.drivers.docker.connection import Connection, Engine
from paictl.engine.model import Observation
from paictl.errors import Refused

__all__ = ["check"]

# The image with its layers and the wheels it is built from, once.
_IMAGE_BYTES = 1200 << 20
_SPARE_BYTES = 64 << 20


def check(connection: Connection, blueprint: Blueprint, observation: Observation, *, offline: bool = False) -> None:
    """Raise ``Refused`` for the first thing in the way."""
    engine, info = connection.engine(), connection.api.info()
    _engine(engine)
    _names(observation)
    ports.check(connection, blueprint, local=engine.local)
    _memory(blueprint, info)
    _graphics(blueprint, info)
    if engine.local:
        _disk(blueprint, observation, Path(str(info["DockerRootDir"])))
    obtainable.check(connection, blueprint, observation, offline=offline)


def _engine(engine: Engine) -> None:
    if engine.os != "linux":
        raise Refused(f"the engine {engine.name} runs {engine.os} containers", help="paictl needs one for Linux.")
    if "userns" in engine.security:
        # The engine mounts a tmpfs volume by the machine's own numbers, and has remapped those of the containers.
        raise Refused(
            f"the engine {engine.name} remaps users (userns-remap), and so no container could read its secrets",
            help="Start it without `userns-remap`, or name another engine with `context` on the target.",
        )


def _names(observation: Observation) -> None:
    """Of two networks with one name, an older engine can't tell which a container is to be started on."""
    networks = [one for one in observation.resources if one.address.kind == "network"]
    ours = {one.address for one in networks if one.owner == "mine"}
    for other in networks:
        if other.owner != "mine" and other.address in ours:
            raise Refused(
                f"there is a second {other.address}, {other.handle[:12]}, that is not paictl's, and by their name the engine "
                "can't tell the two apart when it starts a container",
                help=f"Look at `docker network inspect {other.handle[:12]}`, and remove it if nobody needs it.",
            )


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
