"""The blueprint: what has to stand on a target, in words that fit every driver. Compiled from the manifest; rendered by drivers.

Every path is relative to the service's root (see ``paictl.runtime.config``); where the root really is, the driver decides.
Addresses inside configuration are written ``endpoint://SERVICE/ENDPOINT`` and turned into real ones by the driver's wiring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from paictl.blueprint.periodic import Backup, Updates
from paictl.blueprint.places import Cluster, PrivateDoor
from paictl.blueprint.systems import HostSystem
from paictl.errors import Span
from paictl.hosts import bracketed, is_loopback

__all__ = [
    "Blueprint",
    "ConfigFile",
    "Endpoint",
    "HealthCheck",
    "Host",
    "Limits",
    "Link",
    "RuntimePin",
    "Scale",
    "SecretFile",
    "Service",
    "Upstream",
    "Volume",
    "Weights",
    "Wiring",
    "wire",
]

ServiceRole = Literal["gateway", "agent", "model", "store", "orchestrator", "vpn"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service listens. ``public`` means: for people and clients, on ``bind``; all others are for services only.

    ``udp``: for whoever has a key, from anywhere; never ``public``, since no client speaks to it as to the gateway.
    """

    name: str
    port: int
    public: bool = False
    bind: str = "127.0.0.1"
    udp: bool = False

    @property
    def published(self) -> bool:
        """Whether it has a port of the machine where the service runs in a container."""
        return self.public or self.udp

    @property
    def authority(self) -> str:
        """``ADDRESS:PORT`` that it listens on, as URLs write it."""
        return f"{bracketed(self.bind)}:{self.port}"

    @property
    def open(self) -> bool:
        """Whether other machines can reach it."""
        return self.public and not is_loopback(self.bind)

    @property
    def url(self) -> str:
        """Where a person on its own machine reaches it; one that listens everywhere is near on loopback."""
        near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind, self.bind)  # noqa: S104 - read, not bound
        return f"http://{bracketed(near)}:{self.port}"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A rendered file, read-only for its service. ``content`` is JSON data (or text), with unresolved endpoint addresses.

    An empty path: the service has no such file.
    """

    path: str
    content: Mapping[str, object] | str


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory that outlives its service. ``holds_data``: it is what the agent knows or is, and is never deleted in passing.

    ``path`` is relative to the root; software of others may want an absolute one.
    """

    name: str
    path: str
    holds_data: bool = True
    origin: Span | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """A model file: immutable, fetched and checked by hash. ``size`` in bytes; ``url`` is the exact place it was resolved to.

    ``here``: this machine has the file already, so that making it stand downloads nothing.
    """

    name: str
    path: str
    source: str
    sha256: str
    size: int
    url: str = ""
    here: bool = False
    origin: Span | None = None


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A secret as a file under ``secrets/``.

    ``generated`` ones are made once at the first apply (32 random bytes, URL-safe base64) and kept with the agent's data;
    the others are read from where the manifest says when they are needed. ``fingerprint`` is keyed; never the value.
    ``remote``: somebody else brings it to the target, from this entry and property of theirs; nobody reads it here.
    ``kept``: it is on the target already, in this Secret under this key.
    """

    name: str
    path: str
    generated: bool
    fingerprint: str = ""
    remote: tuple[str, str] = ("", "")
    kept: tuple[str, str] = ("", "")
    origin: Span | None = None

    @property
    def brought(self) -> bool:
        """Whether somebody else brings it to the target."""
        return bool(self.remote[0] or self.kept[0])

    @property
    def entry(self) -> tuple[str, str]:
        """The Secret of a cluster that has it, and the key there."""
        return self.kept if self.kept[0] else (self.name, "value")


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A service is healthy when ``GET path`` at ``endpoint`` answers 200, and stable when it stays so for ``stable_seconds``.

    Of one that listens on nothing (the agent) another knows how it is: ``witness`` is that ``SERVICE/ENDPOINT``, asked where a
    driver can ask one service of another; elsewhere the process being alive is enough.
    """

    endpoint: str | None
    path: str = "/healthz"
    witness: str = ""
    timeout_seconds: float = 60.0
    stable_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds; ``memory`` in bytes, 0 for none; ``cpus`` is how many processors it can keep busy, 0 where that is unknown."""

    memory: int = 0
    cpus: int = 0
    pids: int = 256
    open_files: int = 4096


@dataclass(frozen=True, slots=True)
class Scale:
    """How many of a service run: ``replicas``, and up to ``most`` of them as soon as ``cpu`` percent of what it asks for is used."""

    replicas: int = 1
    most: int = 1
    cpu: int = 0

    @property
    def grows(self) -> bool:
        """Whether how many there are is the cluster's to decide."""
        return self.most > self.replicas

    @property
    def several(self) -> bool:
        """Whether more than one may run at a time."""
        return self.most > 1


@dataclass(frozen=True, slots=True)
class Upstream:
    """Software of others, run from the image that its makers publish instead of from our runtime.

    ``image`` is its name in the manifest's ``images``; ``reference`` what to run: ``HOST/NAME:TAG@sha256:…``, or ``sha256:…``
    for one that only the target's engine has. ``command`` replaces the image's, ``entrypoint`` too when it is not empty.
    ``environment`` holds no secret: these are files. It runs as user and group ``uid``; ``scratch`` are absolute paths it
    may write to and lose. ``healthy`` is a command that exits 0 inside it when it is well.
    """

    image: str
    reference: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    uid: int = 65532
    scratch: tuple[str, ...] = ()
    healthy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """One program that has to run.

    ``module`` is what the runtime starts (``python -m MODULE --root ROOT --config CONFIG``). ``reaches`` names the
    ``SERVICE/ENDPOINT`` pairs it may talk to, ``egress`` the outside hosts; ``room`` says it has no network at all but those.
    ``upstream``: it is not ours, and ``module`` is empty. ``gpus`` names whose graphics cards it is given, all of them:
    ``nvidia``, or empty for none. ``host``: on which of the target's hosts it runs, where it has some.
    """

    name: str
    role: ServiceRole
    module: str
    config: ConfigFile
    endpoints: tuple[Endpoint, ...] = ()
    volumes: tuple[Volume, ...] = ()
    weights: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    reaches: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()
    room: bool = True
    health: HealthCheck = field(default_factory=lambda: HealthCheck(endpoint=None))
    limits: Limits = field(default_factory=Limits)
    needs: tuple[str, ...] = ()
    stop_seconds: float = 10.0
    upstream: Upstream | None = None
    gpus: str = ""
    scale: Scale = field(default_factory=Scale)
    host: str = ""
    origin: Span | None = None

    @property
    def holds_data(self) -> bool:
        """Whether two of it at once would write the same data."""
        return any(volume.holds_data for volume in self.volumes)

    @property
    def neighbours(self) -> tuple[str, ...]:
        """The names of the services that it may talk to, sorted."""
        return tuple(sorted({pair.partition("/")[0] for pair in self.reaches}))

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of that name; raises ``KeyError`` when there is none."""
        for endpoint in self.endpoints:
            if endpoint.name == name:
                return endpoint
        raise KeyError(f"{self.name}/{name}")


@dataclass(frozen=True, slots=True)
class RuntimePin:
    """The runtime that is installed on the target: paictl's version and the digest of the code and its locked dependencies."""

    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Host:
    """A machine reached over ssh; ``user`` empty: whoever ssh's own configuration says. ``link``: where other hosts ask it.

    ``offline``: it reaches nothing that packages and models come from.
    """

    name: str
    address: str
    user: str = ""
    port: int = 22
    link: int = 8790
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """That services on the host ``client`` reach this endpoint of a service on the host ``server``."""

    client: str
    server: str
    service: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Blueprint:
    """Everything that has to stand on one target for one agent.

    ``hosts`` are the machines of a target that is reached over ssh, and ``system`` is how these are set up;
    ``namespace`` is where it stands in a cluster, the agent's name when empty, and ``cluster`` what that offers;
    ``base`` is the image that the runtime's own is built upon; ``vpn`` is what leads to the gateway from outside of a
    cluster, privately; ``backup`` and ``updates`` are what hosts do by timers.
    """

    agent: str
    owner: str
    target: str
    runtime: RuntimePin
    services: tuple[Service, ...]
    weights: tuple[Weights, ...] = ()
    secrets: tuple[SecretFile, ...] = ()
    unconfined: bool = False
    start_on_boot: bool = False
    hosts: tuple[Host, ...] = ()
    system: HostSystem = field(default_factory=HostSystem)
    namespace: str = ""
    cluster: Cluster = field(default_factory=Cluster)
    vpn: PrivateDoor | None = None
    base: str = ""
    backup: Backup | None = None
    updates: Updates | None = None
    origin: Span | None = None

    def service(self, name: str) -> Service:
        """The service of that name; raises ``KeyError`` when there is none."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    def secrets_of(self, service: Service) -> tuple[SecretFile, ...]:
        """The secret files that a service reads."""
        return tuple(secret for secret in self.secrets if secret.name in service.secrets)

    @property
    def links(self) -> tuple[Link, ...]:
        """What services on different hosts say to each other, each once, sorted."""
        found = {
            Link(service.host, self.service(there).host, there, endpoint)
            for service in self.services
            for there, _, endpoint in (pair.partition("/") for pair in service.reaches)
            if self.service(there).host != service.host
        }
        return tuple(sorted(found, key=lambda link: (link.client, link.server, link.service, link.endpoint)))

    @property
    def public(self) -> tuple[Service, Endpoint]:
        """The gateway and its endpoint for people."""
        for service in self.services:
            for endpoint in service.endpoints:
                if endpoint.public:
                    return service, endpoint
        raise LookupError("the blueprint has no public endpoint")


Wiring = Callable[[str, str], str]
"""(service, endpoint) -> the address to use for it on one driver, such as ``unix:run/gateway/inner.sock``."""

_SCHEME = "endpoint://"


def wire(content: object, wiring: Wiring) -> object:
    """The same JSON data with every ``endpoint://SERVICE/ENDPOINT`` replaced by the address that ``wiring`` gives."""
    if isinstance(content, str):
        if not content.startswith(_SCHEME):
            return content
        service, _, endpoint = content.removeprefix(_SCHEME).partition("/")
        return wiring(service, endpoint)
    if isinstance(content, Mapping):
        return {key: wire(value, wiring) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [wire(value, wiring) for value in content]
    return content
