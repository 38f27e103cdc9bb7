"""What a role is asked for each kind of resource: which file of tasks, with which variables and files. Pure; used by ``acting``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from paictl.engine.model import Address, Resource
from paictl.errors import PaictlError

__all__ = ["DRIVER", "ROLE_KINDS", "Work", "host_of", "manages_of", "work_of"]

DRIVER = "ansible"

ROLE_KINDS: Mapping[str, str] = {
    "base": "base",
    "hardening": "hardening",
    "vpn": "vpn",
    "link": "link",
    "containers": "container_engine",
    "k3s": "k3s",
    "backup": "backup",
    "sync": "sync",
}
"""Kinds that are a whole role: the role's name. Resources of these are called as the host they stand on."""

_RUNTIME_KINDS = {
    "runtime": "install",
    "secret": "secret",
    "volume": "volume",
    "weights": "weights",
    "service": "service",
}


@dataclass(frozen=True)
class Work:
    """One call of a role: a file of its tasks with its variables; ``manages`` names the variable that tells what it manages.

    ``secrets`` are names of declared secrets, read when the play begins; ``facts``: it wants to know the host.
    """

    role: str
    tasks: str
    manages: str
    variables: Mapping[str, object]
    files: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    facts: bool = False


def host_of(spec: Mapping[str, object]) -> str:
    """The name of the host."""
    return str(spec["host"])


def manages_of(address: Address) -> tuple[str, str, str]:
    """Role, file of tasks, and the name of what it says it manages."""
    role = ROLE_KINDS.get(address.kind)
    if role is not None:
        return role, "main", f"{role}_manages"
    if address.kind in _RUNTIME_KINDS:
        tasks = _RUNTIME_KINDS[address.kind]
        return "runtime", tasks, f"runtime_{tasks}_manages"
    raise PaictlError(
        f"{address} was made by a newer paictl, which this one does not understand",
        help="Use the newer paictl.",
    )


def work_of(resource: Resource) -> Work:
    """What has to be called to make it."""
    role, tasks, manages = manages_of(resource.address)
    spec: Mapping[str, Any] = resource.spec
    more = _MORE[tasks](resource, spec) if role == "runtime" else {}
    variables = {**spec["vars"], **more.pop("variables", {})}
    return Work(role, tasks, manages, variables, facts=role != "runtime", **more)


def _install(_resource: Resource, spec: Mapping[str, Any]) -> dict[str, Any]:
    from paictl.render.roles import code

    files = {f"files/runtime/{path}": text for path, text in code().items()}
    return {"files": files | {f"files/units/paictl-{spec['agent']}.target": str(spec["target"])}}


def _secret(resource: Resource, spec: Mapping[str, Any]) -> dict[str, Any]:
    name, generated = str(spec.get("secret", resource.address.name)), bool(spec["generated"])
    return {
        "variables": {"runtime_secret": {"name": name, "generated": generated}},
        "secrets": () if generated else (name,),
    }


def _volume(resource: Resource, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"variables": {"runtime_volume": {"name": resource.address.name, "path": spec["path"]}}}


def _weights(resource: Resource, spec: Mapping[str, Any]) -> dict[str, Any]:
    path = f"files/weights/{resource.address.name}.json"
    # Any runtime will do to fetch them: which one it is changes nothing of them, so it is no part of what they are.
    build = next((one.name.partition("-")[0] for one in resource.depends_on if one.kind == "runtime"), "")
    return {
        "variables": {"runtime_weights_list": path, "runtime_build": build},
        "files": {path: json.dumps(spec["files"], indent=2)},
    }


def _service(_resource: Resource, spec: Mapping[str, Any]) -> dict[str, Any]:
    unit, etc = str(spec["unit"]), PurePosixPath("/etc/paictl", str(spec["agent"]), "config")
    stem = unit.removesuffix(".service")
    texts: Mapping[str, str] = spec["configs"]
    files = {f"files/config/{PurePosixPath(path).relative_to(etc)}": text for path, text in texts.items()}
    files[f"files/units/{unit}"] = str(spec["text"])
    files[f"files/tmpfiles/{stem}.conf"] = str(spec["tmpfiles"])
    return {"variables": {"runtime_service": spec["service"]}, "files": files}


_MORE = {"install": _install, "secret": _secret, "volume": _volume, "weights": _weights, "service": _service}
