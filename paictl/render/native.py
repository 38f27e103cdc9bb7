"""Renders a blueprint into what the native driver runs: supervisor configuration, one room file a service, the user unit. Pure.

Called by the native driver and by ``paictl render``. Everything here is text or JSON data that a person can read, and that
PyPI's ``supervisor`` and ``systemd`` take as it stands.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from paictl import places
from paictl.blueprint.types import Blueprint, Service, wire
from paictl.render.environment import environment
from paictl.render.wiring import by_sockets

__all__ = [
    "UNIT_MARK",
    "Paths",
    "boot_unit",
    "config",
    "files",
    "interpreter",
    "mark",
    "paths",
    "room",
    "service_config",
    "socket",
    "supervisor_config",
    "text",
    "venv",
]

UNIT_MARK = "managed-by: paictl"
# The supervisor waits one second longer each time: a home server gets over a night with a full disk by itself.
_START_RETRIES = 500
_STOP_SECONDS_MORE = 15
# unix(7): sun_path holds 108 bytes with the final NUL; supervisord binds a temporary name ten characters longer first.
_SOCKET_BYTES = 107 - 12


@dataclass(frozen=True, slots=True)
class Paths:
    """Where this machine has what the files speak of: the agent's root, its interpreter, the supervisor's socket."""

    root: str
    python: str
    socket: str
    mark: str


def paths(root: Path, digest: str) -> Paths:
    """The places of an agent that lives at ``root`` and runs the runtime of that digest."""
    return Paths(str(root), str(interpreter(root, digest)), str(socket(root)), mark(root))


def mark(root: Path) -> str:
    """In the environment of every process of the agent: tells ours from others', and this agent's from another's."""
    return hashlib.sha256(str(root).encode()).hexdigest()[:16]


def socket(root: Path) -> Path:
    """The supervisor's. On disk, since logging out may empty tmpfs; elsewhere only where the path would be too long."""
    path = root / "run" / "supervisor" / "supervisor.sock"
    if len(os.fsencode(path)) <= _SOCKET_BYTES:
        return path
    return places.shared_memory() / mark(root) / path.name


def venv(root: Path, digest: str) -> Path:
    """By digest, so that a new runtime can stand beside the one that running services were started from."""
    return root / "venv" / digest[:16]


def interpreter(root: Path, digest: str) -> Path:
    """The Python that everything of the agent runs with."""
    return venv(root, digest) / "bin" / "python"


def config(blueprint: Blueprint, service: Service) -> object:
    """The service's configuration with real addresses, as JSON data or text."""
    return wire(service.config.content, by_sockets(blueprint))


def room(blueprint: Blueprint, service: Service) -> dict[str, object]:
    """What the service sees and nothing else (``paictl.runtime.room.Room``)."""
    models = {one.name: one.path for one in blueprint.weights}
    secrets = {one.name: one.path for one in blueprint.secrets}
    listens = any(not endpoint.public for endpoint in service.endpoints)
    return {
        "service": service.name,
        "module": service.module,
        "config": service.config.path,
        "confined": not blueprint.unconfined,
        "network": not service.room,
        "read": [models[name] for name in service.weights]
        + [f"run/{name}" for name in service.neighbours if name != service.name],
        "write": [volume.path for volume in service.volumes] + ([f"run/{service.name}"] if listens else []),
        "secrets": [secrets[name] for name in service.secrets],
        "open_files": service.limits.open_files,
        "processes": service.limits.pids,
    }


def supervisor_config(blueprint: Blueprint, paths: Paths) -> tuple[str, str]:
    """The supervisor's own file, and the identity in it: a digest of all that it runs with, which it tells when asked."""
    template = environment().get_template("native/supervisord.conf.j2")

    def text(identity: str) -> str:
        return template.render(agent=blueprint.agent, identity=identity, root=paths.root, socket=paths.socket)

    digest = hashlib.sha256(f"{blueprint.runtime.digest}\n{text('')}".encode()).hexdigest()
    identity = f"paictl-{digest[:16]}"
    return text(identity), identity


def service_config(blueprint: Blueprint, service: Service, paths: Paths) -> str:
    """The supervisor's file for one service."""
    start = [paths.python, "-m", "paictl.runtime.boot", "start", "--root", paths.root, service.name]
    return (
        environment()
        .get_template("native/service.conf.j2")
        .render(
            agent=blueprint.agent,
            service=service.name,
            command=shlex.join(start),
            root=paths.root,
            start_retries=_START_RETRIES,
            stop_seconds=max(1, round(service.stop_seconds)),
        )
    )


def boot_unit(blueprint: Blueprint, paths: Paths) -> str:
    """The systemd user unit that starts the same supervisor when the machine starts."""
    longest = max((service.stop_seconds for service in blueprint.services), default=0.0)
    return (
        environment()
        .get_template("native/unit.service.j2")
        .render(
            agent=blueprint.agent,
            mark=UNIT_MARK,
            process_mark=paths.mark,
            root=_quoted(paths.root),
            python=_quoted(paths.python),
            stop_seconds=round(longest) + _STOP_SECONDS_MORE,
        )
    )


def files(blueprint: Blueprint) -> Mapping[str, str]:
    """Every file of the native form by its place below the agent's root, for this user of this machine."""
    here = paths(places.data_home() / blueprint.agent, blueprint.runtime.digest)
    written = {"supervisor/supervisord.conf": supervisor_config(blueprint, here)[0]}
    for service in blueprint.services:
        content = config(blueprint, service)
        written[service.config.path] = content if isinstance(content, str) else text(content)
        written[f"supervisor/services/{service.name}.conf"] = service_config(blueprint, service, here)
        written[f"supervisor/rooms/{service.name}.json"] = text(room(blueprint, service))
    if blueprint.start_on_boot:
        written[f"paictl-{blueprint.agent}.service"] = boot_unit(blueprint, here)
    return written


def text(content: object) -> str:
    """JSON data as a file that a person reads."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _quoted(value: str) -> str:
    """One word of a unit's command line; systemd expands ``%`` and ``$`` there."""
    escaped = value.replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(character.isspace() for character in escaped) else escaped
