"""A container as Compose writes it, as the driver's spec, and as the Engine API takes it; ``inspected`` has the way back. Pure.

What `docker compose up` would make of the rendered file and what the driver makes of it are the same: a key of the file
that is not understood here is an error, never left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from paictl.drivers.docker.compose import bytes_of, port_of, seconds_of, tmpfs_of
from paictl.drivers.docker.naming import (
    CONFIG,
    CONFIG_FILES,
    STARTED_WITH,
    engine_name,
)
from paictl.drivers.docker.vaults import vault_volume
from paictl.render.containers import digest

__all__ = ["NANO", "SETTINGS", "SPARE_GROUPS", "Spec", "config_volume", "from_compose", "no_copy", "to_engine"]

Spec = dict[str, Any]

_NONE = "none"
NANO = 1_000_000_000
"""What the engine counts processors and seconds in."""

# Told elsewhere: where images come from, what starts first, and labels, which the driver writes itself.
_ELSEWHERE = frozenset(
    {"build", "pull_policy", "depends_on", "labels", "image", "configs", "secrets", "volumes", "networks"}
)
SPARE_GROUPS = "groups"
"""The spec's key for the groups that its user has beside its own."""


def config_volume(service: str, config: Mapping[str, Any]) -> str:
    """The volume with one content of a service's configuration: another content is another volume."""
    return f"config-{service}-{digest(json.dumps(config, sort_keys=True))}"


def from_compose(service: str, written: Mapping[str, Any], files: Mapping[str, str]) -> Spec:
    """The spec of one service of the file; ``files`` are its configurations, path in the container -> text.

    Raises ``ValueError`` for a key that isn't understood.
    """
    spec: Spec = {"image": written["image"], "networks": _networks(written), "mounts": _mounts(service, written)}
    for key, value in written.items():
        if key in _PLAIN:
            spec[_PLAIN[key]] = value
        elif key in _CONVERTED:
            name, convert = _CONVERTED[key]
            spec[name] = convert(value)
        elif key not in _ELSEWHERE and key != "network_mode":
            message = f"compose.yaml: services.{service}.{key} is nothing that the driver can carry out"
            raise ValueError(message)
    if files:
        # What is in it can't be read back from a container; its digest can, from the label.
        spec["config"] = dict(files)
        spec["config_digest"] = config_volume(service, files).rpartition("-")[2]
        folder = str(PurePosixPath(next(iter(files))).parent)
        spec["mounts"].append({"volume": config_volume(service, files), "target": folder, "read_only": True})
    spec["mounts"].sort(key=lambda mount: mount["target"])
    return spec


def _networks(written: Mapping[str, Any]) -> list[str]:
    if written.get("network_mode") == _NONE:
        return [_NONE]
    return sorted(written["networks"])


def _mounts(service: str, written: Mapping[str, Any]) -> list[Spec]:
    mounts = [
        {"volume": one["source"], "target": one["target"], "read_only": bool(one.get("read_only"))}
        | no_copy(one.get("volume", {}).get("nocopy"))
        for one in written.get("volumes", ())
    ]
    folders = {str(PurePosixPath(one["target"]).parent) for one in written.get("secrets", ())}
    vaults = [{"volume": vault_volume(service, written["user"]), "target": one, "read_only": True} for one in folders]
    return [*mounts, *(one | no_copy(told=True) for one in vaults)]


def no_copy(told: object) -> Spec:
    """An empty volume takes over content, owner and mode of what the image has in its place, unless it is told not to."""
    return {"no_copy": True} if told else {}


def _logging(value: Mapping[str, Any]) -> Spec:
    return {"driver": value["driver"], "options": {key: str(one) for key, one in value.get("options", {}).items()}}


def _health(value: Mapping[str, Any]) -> Spec:
    if value.get("disable"):
        return {"test": ["NONE"]}
    seconds = {key: seconds_of(value[key]) for key in ("interval", "timeout", "start_period") if key in value}
    return {"test": list(value["test"]), "retries": int(value.get("retries", 3)), **seconds}


def _ulimits(value: Mapping[str, Any]) -> Spec:
    return {name: [one["soft"], one["hard"]] if isinstance(one, Mapping) else [one, one] for name, one in value.items()}


def _gpus(value: Mapping[str, Any]) -> list[Spec]:
    devices = value["resources"]["reservations"]["devices"]
    return [
        {
            "driver": one.get("driver", ""),
            "count": -1 if one.get("count", "all") == "all" else int(one["count"]),
            "capabilities": list(one["capabilities"]),
        }
        for one in devices
    ]


# What has the same value in the file and in the spec, and what has to be read.
_PLAIN: Mapping[str, str] = {
    "command": "command",
    "entrypoint": "entrypoint",
    "environment": "environment",
    "user": "user",
    "read_only": "read_only",
    "cap_drop": "cap_drop",
    "security_opt": "security",
    "init": "init",
    "restart": "restart",
    "dns": "dns",
    "dns_opt": "dns_options",
    "pids_limit": "pids",
    "cpu_shares": "cpu_shares",
}
_CONVERTED: Mapping[str, tuple[str, Any]] = {
    "tmpfs": ("tmpfs", tmpfs_of),
    "ports": ("ports", lambda value: [port_of(one) for one in value]),
    "mem_limit": ("memory", bytes_of),
    "memswap_limit": ("memory_swap", bytes_of),
    "cpus": ("cpus", float),
    "ulimits": ("ulimits", _ulimits),
    "logging": ("logging", _logging),
    "healthcheck": ("health", _health),
    "stop_grace_period": ("stop_seconds", seconds_of),
    "group_add": (SPARE_GROUPS, lambda value: [str(one) for one in value]),
    "deploy": ("gpus", _gpus),
}
SETTINGS = frozenset({*_PLAIN.values(), *(name for name, _ in _CONVERTED.values())})
"""The keys of a spec that stand for one key of the file each."""


def to_engine(spec: Spec, labels: Mapping[str, str], aliases: Sequence[str]) -> Spec:
    """The body of the Engine API's `POST /containers/create`, with the first network alone: older engines take no more.

    ``aliases``: the names under which it is found there.
    """
    agent, first = spec["agent"], spec["networks"][0]
    started_with = json.dumps(spec.get("started_with", {}), sort_keys=True)
    network = first if first == _NONE else engine_name(agent, first)
    body: Spec = {
        "Image": spec["image"],
        "Cmd": spec.get("command"),
        "Env": [f"{key}={value}" for key, value in spec.get("environment", {}).items()],
        "User": spec["user"],
        "Labels": {
            **labels,
            CONFIG: spec.get("config_digest", ""),
            CONFIG_FILES: " ".join(spec.get("config", ())),
            STARTED_WITH: started_with,
        },
        "StopTimeout": spec.get("stop_seconds", 10),
        "ExposedPorts": {_exposed(one): {} for one in spec.get("ports", ())},
        "HostConfig": _host_config(spec, network),
    }
    if spec.get("entrypoint"):
        body["Entrypoint"] = spec["entrypoint"]
    if spec.get("health"):
        body["Healthcheck"] = _engine_health(spec["health"])
    if first != _NONE:
        body["NetworkingConfig"] = {"EndpointsConfig": {network: {"Aliases": list(aliases)}}}
    return body


def _exposed(port: Mapping[str, Any]) -> str:
    return f"{port['port']}/{port.get('protocol', 'tcp')}"


def _host_config(spec: Spec, network: str) -> Spec:
    policy, _, times = spec.get("restart", "no").partition(":")
    return {
        "NetworkMode": network,
        "Mounts": [_engine_mount(spec["agent"], one) for one in spec["mounts"]],
        "Tmpfs": dict(spec.get("tmpfs", {})),
        "ReadonlyRootfs": bool(spec.get("read_only")),
        "CapDrop": list(spec.get("cap_drop", ())),
        "SecurityOpt": list(spec.get("security", ())),
        "Init": bool(spec.get("init")),
        "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(times or 0)},
        "LogConfig": {"Type": spec["logging"]["driver"], "Config": spec["logging"]["options"]},
        "Dns": list(spec.get("dns", ())),
        "DnsOptions": list(spec.get("dns_options", ())),
        "GroupAdd": list(spec.get(SPARE_GROUPS, ())),
        "PortBindings": {
            _exposed(one): [{"HostIp": one["address"], "HostPort": str(one["published"])}]
            for one in spec.get("ports", ())
        },
        "Memory": spec.get("memory", 0),
        "MemorySwap": spec.get("memory_swap", 0),
        "PidsLimit": spec.get("pids"),
        "NanoCpus": round(spec.get("cpus", 0) * NANO),
        "CpuShares": spec.get("cpu_shares", 0),
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in spec.get("ulimits", {}).items()
        ],
        "DeviceRequests": [
            {"Driver": one["driver"], "Count": one["count"], "Capabilities": [one["capabilities"]]}
            for one in spec.get("gpus", ())
        ],
    }


def _engine_mount(agent: str, mount: Mapping[str, Any]) -> Spec:
    made: Spec = {"Type": "volume", "Source": engine_name(agent, mount["volume"]), "Target": mount["target"]}
    if mount.get("no_copy"):
        made["VolumeOptions"] = {"NoCopy": True}
    return made | ({"ReadOnly": True} if mount["read_only"] else {})


def _engine_health(health: Mapping[str, Any]) -> Spec:
    body: Spec = {"Test": health["test"]}
    for key, name in (("interval", "Interval"), ("timeout", "Timeout"), ("start_period", "StartPeriod")):
        if key in health:
            body[name] = round(health[key] * NANO)
    return body | ({"Retries": health["retries"]} if "retries" in health else {})
