"""Renders a blueprint into what the native driver runs: supervisor configuration, one room file a service, the user unit. Pure.

Called by the native driver and by ``paictl render``. Everything here is text or JSON data that a person can read, and that
PyPI's ``supervisor`` and ``systemd`` take as it stands.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass

from paictl.blueprint.types import Blueprint, Endpoint, Service, Wiring, wire
from paictl.render.environment import environment

__all__ = [
    "UNIT_MARK",
    "Paths",
    "boot_unit",
    "config",
    "files",
    "room",
    "service_config",
    "supervisor_config",
    "wiring",
]

UNIT_MARK = "managed-by: paictl"
# The supervisor waits one second longer each time: a home server gets over a night with a full disk by itself.
_START_RETRIES = 500
_STOP_SECONDS_MORE = 15


@dataclass(frozen=True, slots=True)
class Paths:
    """Where this machine has what the files speak of: the agent's root, its interpreter, the supervisor's socket."""

    root: str
    python: str
    socket: str
    mark: str


def wiring(blueprint: Blueprint) -> Wiring:
    """The gateway listens for people on TCP; everything else is a socket below the root, in its service's own directory."""

    def address(service: str, endpoint: str) -> str:
        for one in blueprint.service(service).endpoints:
            if one.name == endpoint:
                host = f"[{one.bind}]" if ":" in one.bind else one.bind
                return f"tcp:{host}:{one.port}" if one.public else f"unix:run/{service}/{endpoint}.sock"
        raise KeyError(f"{service}/{endpoint}")

    return address


def url(endpoint: Endpoint) -> str:
    """Where a person on this machine reaches a public endpoint; one that listens everywhere is near on loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(endpoint.bind, endpoint.bind)  # noqa: S104 - read, not bound
    return f"http://[{host}]:{endpoint.port}" if ":" in host else f"http://{host}:{endpoint.port}"


def config(blueprint: Blueprint, service: Service) -> object:
    """The service's configuration with real addresses, as JSON data or text."""
    return wire(service.config.content, wiring(blueprint))


def room(blueprint: Blueprint, service: Service) -> dict[str, object]:
    """What the service sees and nothing else (``paictl.runtime.room.Room``)."""
    models = {one.name: one.path for one in blueprint.weights}
    secrets = {one.name: one.path for one in blueprint.secrets}
    listens = any(not endpoint.public for endpoint in service.endpoints)
    neighbours = sorted({reached.partition("/")[0] for reached in service.reaches} - {service.name})
    return {
        "service": service.name,
        "module": service.module,
        "config": service.config.path,
        "confined": not blueprint.unconfined,
        "network": not service.room,
        "read": [models[name] for name in service.weights] + [f"run/{name}" for name in neighbours],
        "write": [volume.path for volume in service.volumes] + ([f"run/{service.name}"] if listens else []),
        "secrets": [secrets[name] for name in service.secrets],
        "open_files": service.limits.open_files,
        "processes": service.limits.pids,
    }


def supervisor_config(blueprint: Blueprint, paths: Paths) -> tuple[str, str]:
    """The supervisor's own file, and the identity in it: a digest of all that it runs with, which it tells when asked."""
    template = environment().get_template("native/supervisord.conf.j2")

    def text(identity: str) -> str:
        return template.render(
            agent=blueprint.agent, identity=identity, root=_plain(paths.root), socket=_plain(paths.socket)
        )

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
            command=_plain(shlex.join(start)),
            root=_plain(paths.root),
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


def files(blueprint: Blueprint, paths: Paths) -> dict[str, str]:
    """Every file of the native form by its place below the agent's root."""
    written = {"supervisor/supervisord.conf": supervisor_config(blueprint, paths)[0]}
    for service in blueprint.services:
        content = config(blueprint, service)
        written[service.config.path] = content if isinstance(content, str) else text(content)
        written[f"supervisor/services/{service.name}.conf"] = service_config(blueprint, service, paths)
        written[f"supervisor/rooms/{service.name}.json"] = text(room(blueprint, service))
    if blueprint.start_on_boot:
        written[f"paictl-{blueprint.agent}.service"] = boot_unit(blueprint, paths)
    return written


def text(content: object) -> str:
    """JSON data as a file that a person reads."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _plain(value: str) -> str:
    """Supervisor expands ``%(name)s`` in its values."""
    return value.replace("%", "%%")


def _quoted(value: str) -> str:
    """One word of a unit's command line; systemd expands ``%`` and ``$`` there."""
    escaped = value.replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(character.isspace() for character in escaped) else escaped
