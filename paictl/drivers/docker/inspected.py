"""A container as the engine tells it by now, in the words of the driver's spec: what drift is found by. Pure; used by ``view``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from paictl.drivers.docker.containers import NANO, SETTINGS, SPARE_GROUPS, Spec, no_copy
from paictl.drivers.docker.naming import CONFIG, NAME, STARTED_WITH, container_name, short_name

__all__ = ["READABLE", "live"]


def live(told: Mapping[str, Any], agent: str, images: Mapping[str, str]) -> Spec:
    """The spec of a container as `GET /containers/ID/json` tells it; ``images`` are the ids of the names that we gave.

    What the image would fill in by itself (environment, entrypoint) can't be told apart and is left out. What the driver
    never sets appears only where somebody did.
    """
    config, host = told["Config"], told["HostConfig"]
    labels = config.get("Labels") or {}
    spec: Spec = {
        "agent": agent,
        "image": _image(told, images),
        "command": config.get("Cmd") or [],
        "user": config.get("User", ""),
        "networks": sorted(short_name(agent, one) or one for one in told["NetworkSettings"]["Networks"]),
        "mounts": [_live_mount(agent, one) for one in host.get("Mounts") or ()],
        "stop_seconds": config.get("StopTimeout") or 10,
        "config_digest": labels.get(CONFIG, ""),
        "started_with": _json(labels.get(STARTED_WITH, "")),
        **_live_limits(host),
        **_live_confinement(host),
        **_live_names(told, agent),
        **_live_strays(host),
    }
    spec["mounts"].sort(key=lambda mount: mount["target"])
    if config.get("Healthcheck"):
        spec["health"] = _live_health(config["Healthcheck"])
    if host["NetworkMode"].startswith(("host", "container:")):
        spec["networks"] = [host["NetworkMode"]]
    return spec


_NEVER_SET: Mapping[str, str] = {
    "Privileged": "privileged",
    "CapAdd": "cap_add",
    "Binds": "binds",
    "Devices": "devices",
    "PidMode": "pid_mode",
    "UTSMode": "uts_mode",
    "UsernsMode": "user_namespace",
    "ExtraHosts": "extra_hosts",
    "PublishAllPorts": "publish_all_ports",
    "VolumesFrom": "volumes_from",
    "Links": "links",
    "Sysctls": "sysctls",
    "DeviceCgroupRules": "device_rules",
    "CgroupParent": "cgroup_parent",
    "CpuPeriod": "cpu_period",
    "CpuQuota": "cpu_quota",
    "CpusetCpus": "cpuset",
    "CpusetMems": "cpuset_memory",
    "MemoryReservation": "memory_reservation",
    "BlkioWeight": "blkio_weight",
    "OomKillDisable": "oom_kill_disable",
    "OomScoreAdj": "oom_score",
}
READABLE = frozenset(
    {
        *("agent", "image", "networks", "mounts", "alias", "config_digest", "started_with"),
        *("name", "ipc_mode", "bared_paths", *_NEVER_SET.values()),
        *SETTINGS,
    }
)
"""Every key that a live spec may have; some are in no desired one, and there only where somebody did it by hand."""


def _live_strays(host: Mapping[str, Any]) -> Spec:
    found = {name: host[key] for key, name in _NEVER_SET.items() if host.get(key)}
    if str(host.get("IpcMode")).startswith(("host", "container:")):
        found["ipc_mode"] = host["IpcMode"]
    # What the engine hides of /proc and /sys, unless it is told `systempaths=unconfined`.
    if [] in (host.get("MaskedPaths"), host.get("ReadonlyPaths")):
        found["bared_paths"] = True
    return found


def _live_names(told: Mapping[str, Any], agent: str) -> Spec:
    """Its own name, where that is none of ours, and the one that it is found under on the agent's networks."""
    service = (told["Config"].get("Labels") or {}).get(NAME, "")
    found: Spec = {}
    name = str(told["Name"]).lstrip("/")
    if not re.fullmatch(re.escape(container_name(agent, service, 0)[:-1]) + "[0-9]+", name):
        found["name"] = name
    ours = [place for network, place in told["NetworkSettings"]["Networks"].items() if short_name(agent, network)]
    if ours:
        found["alias"] = service if all(service in (place.get("Aliases") or ()) for place in ours) else ""
    return found


def _live_limits(host: Mapping[str, Any]) -> Spec:
    return {
        # The engine says 0 for no limit, where the file says nothing.
        "memory": host.get("Memory") or None,
        "memory_swap": host.get("MemorySwap") or None,
        "pids": host.get("PidsLimit") or None,
        "cpus": (host.get("NanoCpus") or 0) / NANO or None,
        "cpu_shares": host.get("CpuShares") or None,
        "ulimits": {one["Name"]: [one["Soft"], one["Hard"]] for one in host.get("Ulimits") or ()},
        "gpus": [
            {"driver": one["Driver"], "count": one["Count"], "capabilities": one["Capabilities"][0]}
            for one in host.get("DeviceRequests") or ()
        ],
    }


def _live_confinement(host: Mapping[str, Any]) -> Spec:
    policy = host.get("RestartPolicy") or {}
    times = policy.get("MaximumRetryCount") or 0
    log = host.get("LogConfig") or {}
    return {
        "read_only": bool(host.get("ReadonlyRootfs")),
        "init": bool(host.get("Init")),
        "cap_drop": list(host.get("CapDrop") or ()),
        "security": list(host.get("SecurityOpt") or ()),
        "tmpfs": dict(host.get("Tmpfs") or {}),
        "restart": f"{policy.get('Name') or 'no'}:{times}" if times else policy.get("Name") or "no",
        "logging": {"driver": log.get("Type", ""), "options": dict(log.get("Config") or {})},
        "dns": list(host.get("Dns") or ()),
        "dns_options": list(host.get("DnsOptions") or ()),
        SPARE_GROUPS: list(host.get("GroupAdd") or ()),
        "ports": sorted(_live_ports(host.get("PortBindings") or {}), key=lambda one: str(one["published"])),
    }


def _live_ports(bindings: Mapping[str, Sequence[Mapping[str, str]] | None]) -> list[Spec]:
    return [
        {"address": one["HostIp"], "published": int(one["HostPort"] or 0), **_exposed(port)}
        for port, several in bindings.items()
        for one in several or ()
    ]


def _exposed(port: str) -> Spec:
    number, _, protocol = port.partition("/")
    return {"port": int(number)} | ({"protocol": protocol} if protocol == "udp" else {})


def _live_mount(agent: str, mount: Mapping[str, Any]) -> Spec:
    name = mount.get("Source", "")
    return {
        "volume": short_name(agent, name) if mount.get("Type") == "volume" and short_name(agent, name) else name,
        "target": mount["Target"],
        "read_only": bool(mount.get("ReadOnly")),
    } | no_copy((mount.get("VolumeOptions") or {}).get("NoCopy"))


def _live_health(told: Mapping[str, Any]) -> Spec:
    health: Spec = {"test": told.get("Test") or []}
    for key, name in (("interval", "Interval"), ("timeout", "Timeout"), ("start_period", "StartPeriod")):
        if told.get(name):
            health[key] = told[name] / NANO
    return health | ({"retries": told["Retries"]} if told.get("Retries") else {})


def _image(told: Mapping[str, Any], images: Mapping[str, str]) -> str:
    """The name it was made from; where that name means another image by now, what it really runs."""
    name = str(told["Config"]["Image"])
    return name if images.get(name, told["Image"]) == told["Image"] else str(told["Image"])


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
