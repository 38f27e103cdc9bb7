"""What section 5 (container runtime) of the CIS Docker Benchmark 1.6 finds wanting in containers, with the items' own numbers.

Used by the tests that prove a stack's hardening. Judges what an engine tells of its containers, as docker-bench-security does;
changes nothing. Where the benchmark leaves the judgement to a person ("manual": 5.9, 5.19, 5.23, 5.24, 5.28), what can be seen is
judged. 5.15 is judged by the benchmark's own audit: `always` and endless or more than five retries are findings; `unless-stopped`
is not one, since Docker waits up to a minute between its attempts (templates/docker/compose.yaml.j2 says why it is used).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import docker
from docker.errors import ImageNotFound

__all__ = ["ITEMS", "Seen", "look", "warnings"]

_SENSITIVE = ("/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr")
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})
_ROOT = frozenset({"", "0", "root"})
_FIRST_UNPRIVILEGED_PORT = 1024
_DEFAULT_SHARES = 1024
_RETRIES = 5


@dataclass(frozen=True)
class Seen:
    """One container as the engine tells it: its inspection, its processes' names, what was executed in it, its name's image now."""

    inspect: Mapping[str, Any]
    info: Mapping[str, Any]
    processes: tuple[str, ...] = ()
    execs: tuple[Mapping[str, Any], ...] = field(default=())
    image_now: str = ""

    @property
    def host(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.inspect["HostConfig"]
        return found

    @property
    def security(self) -> tuple[str, ...]:
        """Its security options, in the one of their two spellings that has a colon."""
        return tuple(option.replace("=", ":", 1) for option in self.host.get("SecurityOpt") or ())

    @property
    def mounts(self) -> list[Mapping[str, Any]]:
        return [mount for mount in self.inspect.get("Mounts") or () if mount.get("Type") == "bind"]

    @property
    def bindings(self) -> Iterator[tuple[str, int]]:
        """Address and port on the machine."""
        for published in (self.host.get("PortBindings") or {}).values():
            yield from ((str(one.get("HostIp", "")), int(one.get("HostPort") or 0)) for one in published or ())

    def engine_has(self, module: str) -> bool:
        """Whether the engine enforces such a module: ``apparmor``, ``selinux``, ``seccomp``."""
        return any(f"name={module}" in option for option in self.info.get("SecurityOptions") or ())


def look(api: docker.APIClient, containers: Iterable[str]) -> list[Seen]:
    """What the engine tells of these containers, by id or name."""
    info = api.info()
    return [_seen(api, info, one) for one in containers]


def warnings(seen: Iterable[Seen]) -> list[str]:
    """``NUMBER TITLE: CONTAINER`` of everything that is not as the benchmark wants it; empty when all is well."""
    return [
        f"{number} {title}: {str(one.inspect['Name']).lstrip('/')}"
        for one in seen
        for number, (title, wrong) in ITEMS.items()
        if wrong(one)
    ]


def _seen(api: docker.APIClient, info: Mapping[str, Any], container: str) -> Seen:
    inspect = api.inspect_container(container)
    processes: tuple[str, ...] = ()
    if inspect["State"]["Running"]:
        processes = tuple(str(row[-1]) for row in api.top(container, "-eo pid,comm")["Processes"])
    execs = tuple(api.exec_inspect(one) for one in inspect.get("ExecIDs") or ())
    try:
        image_now = str(api.inspect_image(inspect["Config"]["Image"])["Id"])  # type: ignore[no-untyped-call]  # so published
    except ImageNotFound:
        image_now = ""
    return Seen(inspect, info, processes, execs, image_now)


def _apparmor(one: Seen) -> bool:
    profile = one.inspect.get("AppArmorProfile") or ""
    started = one.inspect["State"]["Status"] != "created"
    # The profile is chosen when a container starts.
    without = one.engine_has("apparmor") and started and profile in {"", "unconfined"}
    return without or "apparmor:unconfined" in one.security


def _selinux(one: Seen) -> bool:
    # The engine itself takes the label away from containers that share the machine's processes: items of their own.
    by_engine = one.host.get("Privileged") or "host" in {one.host.get("PidMode"), one.host.get("IpcMode")}
    return not one.security or ("label:disable" in one.security and not by_engine)


def _capabilities(one: Seen) -> bool:
    dropped = {name.upper() for name in one.host.get("CapDrop") or ()}
    return "ALL" not in dropped or bool(one.host.get("CapAdd"))


def _sensitive(one: Seen) -> bool:
    sources = [str(mount["Source"]) for mount in one.mounts]
    return any(
        source == "/" or source.startswith(tuple(f"{path}/" for path in _SENSITIVE)) for source in sources
    ) or bool({*sources} & {*_SENSITIVE})


def _priority(one: Seen) -> bool:
    shared = one.host.get("CpuShares") or 0
    return shared in {0, _DEFAULT_SHARES} and not one.host.get("NanoCpus") and not one.host.get("CpuQuota")


def _restart(one: Seen) -> bool:
    policy = one.host.get("RestartPolicy") or {}
    times = policy.get("MaximumRetryCount") or 0
    return policy.get("Name") == "always" or (policy.get("Name") == "on-failure" and not 0 < times <= _RETRIES)


def _seccomp(one: Seen) -> bool:
    return "seccomp:unconfined" in one.security or not one.engine_has("seccomp")


def _privileges(one: Seen) -> bool:
    return not {"no-new-privileges", "no-new-privileges:true"} & {*one.security}


def _unchecked(one: Seen) -> bool:
    test = (one.inspect["Config"].get("Healthcheck") or {}).get("Test") or []
    return test in ([], ["NONE"])


def _default_bridge(one: Seen) -> bool:
    attached = one.inspect["NetworkSettings"].get("Networks") or {}
    return one.host["NetworkMode"] in {"default", "bridge"} or "bridge" in attached


def _executed(one: Seen, *, privileged: bool) -> bool:
    for process in (execution["ProcessConfig"] for execution in one.execs):
        user = str(process.get("user") or one.inspect["Config"].get("User") or "").partition(":")[0]
        if process.get("privileged") if privileged else user in _ROOT:
            return True
    return False


def _mode(name: str) -> Callable[[Seen], bool]:
    return lambda one: one.host.get(name) == "host"


ITEMS: Mapping[str, tuple[str, Callable[[Seen], bool]]] = {
    "5.1": (
        "swarm mode is on",
        lambda one: (one.info.get("Swarm") or {}).get("LocalNodeState") not in {None, "inactive"},
    ),
    "5.2": ("no AppArmor profile", _apparmor),
    "5.3": ("no SELinux or other security options", _selinux),
    "5.4": ("more capabilities than none", _capabilities),
    "5.5": ("privileged", lambda one: bool(one.host.get("Privileged"))),
    "5.6": ("a sensitive directory of the machine is mounted", _sensitive),
    "5.7": ("sshd runs in it", lambda one: "sshd" in one.processes),
    "5.8": (
        "a privileged port is mapped",
        lambda one: any(0 < port < _FIRST_UNPRIVILEGED_PORT for _, port in one.bindings),
    ),
    "5.9": ("all ports are published", lambda one: bool(one.host.get("PublishAllPorts"))),
    "5.10": ("the machine's network namespace", _mode("NetworkMode")),
    "5.11": ("no memory limit", lambda one: not one.host.get("Memory")),
    "5.12": ("no processor priority", _priority),
    "5.13": ("its root file system can be written", lambda one: not one.host.get("ReadonlyRootfs")),
    "5.14": ("a port on every interface", lambda one: any(address in _EVERYWHERE for address, _ in one.bindings)),
    "5.15": ("it is restarted without end", _restart),
    "5.16": ("the machine's process namespace", _mode("PidMode")),
    "5.17": ("the machine's IPC namespace", _mode("IpcMode")),
    "5.18": ("a device of the machine", lambda one: bool(one.host.get("Devices"))),
    "5.19": ("no ulimits of its own", lambda one: not one.host.get("Ulimits")),
    "5.20": (
        "shared mount propagation",
        lambda one: any("shared" in str(mount.get("Propagation")) for mount in one.mounts),
    ),
    "5.21": ("the machine's UTS namespace", _mode("UTSMode")),
    "5.22": ("no seccomp profile", _seccomp),
    "5.23": ("a privileged docker exec", lambda one: _executed(one, privileged=True)),
    "5.24": ("a docker exec as root", lambda one: _executed(one, privileged=False)),
    "5.25": ("a control group of its own choice", lambda one: bool(one.host.get("CgroupParent"))),
    "5.26": ("it can gain privileges", _privileges),
    "5.27": ("no health check", _unchecked),
    "5.28": ("its image's name means another image by now", lambda one: one.image_now != one.inspect["Image"]),
    "5.29": ("no limit of processes", lambda one: (one.host.get("PidsLimit") or 0) <= 0),
    "5.30": ("the default bridge", _default_bridge),
    "5.31": ("the machine's user namespace", _mode("UsernsMode")),
    "5.32": (
        "the engine's socket is mounted",
        lambda one: any("docker.sock" in str(mount["Source"]) for mount in one.mounts),
    ),
}
"""Number -> what is wrong, and how it is seen."""
