"""One service in Kubernetes' words: what its pod is made of, how it is watched, how much of it runs. Pure; used by ``kubernetes``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import PurePosixPath

from paictl.blueprint import vpn_image
from paictl.blueprint.places import Cluster, Toleration
from paictl.blueprint.types import Blueprint, Endpoint, SecretFile, Service, ServiceRole, Upstream, Volume
from paictl.render.arrows import Outside, destinations, ports_by_service
from paictl.render.containers import ROOT, UID, ModelFolder, digest, image, listing, models_of
from paictl.render.wiring import by_names, configuration

__all__ = [
    "MEBIBYTE",
    "Map",
    "Probe",
    "Workload",
    "quantity",
    "runtime_image",
    "service_map",
    "weights_map",
    "workload",
]

MEBIBYTE = 1 << 20

# A first start may have to wait so long for its model files.
_FETCH_SECONDS = 3600
_DEFAULT_MEMORY = 1024 * MEBIBYTE
# How often a start is looked at, and what a command that asks costs more than a request.
_START_SECONDS, _COMMAND_SECONDS = 2, 10
# A Service's end reaches every node within a second or two; until then requests still come to a pod that is to end.
_LEAVING_SECONDS = 5
# What a model is still writing is written to its end.
_ANSWER_SECONDS = 30
# Of one processor, in thousandths: what each is sure of. One that grows with its work is measured by it, so that it may not be
# next to nothing.
_ASKED: Mapping[ServiceRole, int] = {
    "gateway": 100,
    "agent": 50,
    "model": 250,
    "store": 100,
    "orchestrator": 100,
    "vpn": 50,
}
_ASKED_AT_LEAST_TO_GROW = 250
# More than each can use, so that none is slowed down by its limit; what models can use, they say.
_MOST: Mapping[ServiceRole, int] = {"gateway": 2, "agent": 2, "model": 16, "store": 4, "orchestrator": 4, "vpn": 2}
_PYTHON = "/opt/paictl/venv/bin/python"


@dataclass(frozen=True, slots=True)
class Map:
    """One ConfigMap with one file; ``plain`` text can stand in the file as it is."""

    name: str
    component: str
    key: str
    text: str
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Probe:
    """Asks every ``seconds``, by a request or a command; ``failures`` in a row are one."""

    seconds: int
    failures: int
    path: str = ""
    port: int = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """One service; ``connects``: its addresses are filled in at the pod's start."""

    service: Service
    cluster: Cluster
    image: str
    config_map: str
    connects: bool
    folders: tuple[ModelFolder, ...]
    weights_map: str
    secrets: tuple[SecretFile, ...]
    probes: Mapping[str, Probe]
    environment: Mapping[str, str]
    scratch: Mapping[str, str]
    reaches: Mapping[str, list[int]]
    reached_by: Mapping[str, list[int]]
    open_ports: tuple[Endpoint, ...]
    outside: tuple[Outside, ...]

    @property
    def init(self) -> bool:
        return self.connects or bool(self.folders)

    @property
    def own_volumes(self) -> tuple[Volume, ...]:
        """The volumes that each of several has for itself; what holds data is never several."""
        return self.service.volumes if self.service.scale.several else ()

    @property
    def kind(self) -> str:
        """What holds data is never two at once on the same data; of what has volumes of its own, each keeps its name."""
        return "StatefulSet" if self.service.holds_data or self.own_volumes else "Deployment"

    @property
    def uid(self) -> int:
        return self.service.upstream.uid if self.service.upstream else UID

    @property
    def command(self) -> tuple[str, ...]:
        return tuple(map(_literal, self.service.upstream.entrypoint if self.service.upstream else ()))

    @property
    def arguments(self) -> tuple[str, ...]:
        if self.service.upstream:
            return tuple(map(_literal, self.service.upstream.command))
        return ("-m", self.service.module, "--root", ROOT, "--config", self.service.config.path)

    @property
    def config_key(self) -> str:
        return PurePosixPath(self.service.config.path).name

    @property
    def config_folder(self) -> str:
        return str(PurePosixPath(ROOT, self.service.config.path).parent)

    @property
    def memory(self) -> str:
        return quantity(self.service.limits.memory or _DEFAULT_MEMORY)

    @property
    def asked(self) -> str:
        """The processor that it is sure of."""
        asked = _ASKED[self.service.role]
        return f"{max(asked, _ASKED_AT_LEAST_TO_GROW) if self.service.scale.grows else asked}m"

    @property
    def most(self) -> int:
        """The processors that it may use: one more than it computes on."""
        return self.service.limits.cpus + 1 if self.service.limits.cpus else _MOST[self.service.role]

    @property
    def leaving(self) -> int:
        """Seconds in which it still serves when it is to end: those who were sent to it have to come somewhere."""
        return _LEAVING_SECONDS if self.kind == "Deployment" and self.service.endpoints else 0

    @property
    def grace(self) -> int:
        more = _ANSWER_SECONDS if self.service.role == "model" else 0
        return ceil(self.service.stop_seconds) + self.leaving + more

    @property
    def deadline(self) -> int:
        return ceil(self.service.health.timeout_seconds) + (_FETCH_SECONDS if self.folders else 60)

    @property
    def together(self) -> bool:
        """Whether all have to run on one node: that which alone can read the files of their model."""
        return self.service.scale.several and bool(self.folders) and not self.cluster.shared_storage_class

    @property
    def spread(self) -> tuple[str, ...]:
        return self.cluster.spread if self.service.scale.several and not self.together else ()

    @property
    def node_selector(self) -> Mapping[str, str]:
        return {**self.cluster.node_selector, **(self.cluster.cards.node_selector if self.service.gpus else {})}

    @property
    def tolerations(self) -> list[Mapping[str, str]]:
        # Nodes with cards keep everything else away by the name of the resource.
        cards = (Toleration(self.cluster.cards.resource, "Exists"),) if self.service.gpus else ()
        every = (
            {"key": one.key, "operator": one.operator, "value": one.value, "effect": one.effect}
            for one in (*self.cluster.tolerations, *cards)
        )
        return [{key: value for key, value in one.items() if value} for one in every]


def quantity(size: float) -> str:
    """Bytes as the API server writes them, so that nothing seems to differ afterwards; rounded up to whole mebibytes."""
    number, units = ceil(size / MEBIBYTE), ["Mi", "Gi", "Ti"]
    while number % 1024 == 0 and len(units) > 1:
        number, units = number // 1024, units[1:]
    return f"{number}{units[0]}"


def workload(blueprint: Blueprint, service: Service) -> Workload:
    """The service as its pod's template needs it."""
    folders, upstream = models_of(blueprint, service), service.upstream
    here = f"{service.name}/"
    callers = {one.name: [to for to in one.reaches if to.startswith(here)] for one in blueprint.services}
    paths = dict.fromkeys(("/tmp", *(upstream.scratch if upstream else ())))  # noqa: S108 - the container's own
    return Workload(
        service=service,
        cluster=blueprint.cluster,
        image=_upstream_image(blueprint, upstream) if upstream else runtime_image(blueprint),
        config_map=service_map(blueprint, service).name if service.config.path else "",
        connects=bool(service.reaches and service.config.path),
        folders=folders,
        weights_map=weights_map(folders[0]).name if folders else "",
        secrets=blueprint.secrets_of(service),
        probes=dict(_probes(service)),
        environment={name: _literal(value) for name, value in upstream.environment.items()}
        if upstream
        else _asked_of_health(blueprint, service),
        scratch={_volume_name(path): path for path in paths},
        reaches=ports_by_service(blueprint, service.reaches),
        reached_by={name: ports_by_service(blueprint, to)[service.name] for name, to in callers.items() if to},
        open_ports=tuple(one for one in service.endpoints if one.open or one.udp),
        outside=destinations(service.egress),
    )


def _literal(text: str) -> str:
    """As Kubernetes reads it back: $(NAME) would be a variable of its, and $$ is one $. Commands of probes are left alone."""
    return text.replace("$", "$$")


def _volume_name(path: str) -> str:
    return path.strip("/").replace("/", "-").replace(".", "").replace("_", "-").lower()


def _probes(service: Service) -> Iterator[tuple[str, Probe]]:
    """What the kubelet asks, by the names that it has for it."""
    health, upstream = service.health, service.upstream
    port = service.endpoint(health.endpoint).port if health.endpoint else 0
    told = upstream.healthy if upstream else ()
    if told:
        yield "startupProbe", Probe(5, ceil(health.timeout_seconds / 5), command=told)
        yield "readinessProbe", Probe(_COMMAND_SECONDS, 3, command=told)
        # A model that is being asked answers requests sooner than commands are begun.
        yield (
            "livenessProbe",
            Probe(20, 6, health.path, port) if service.role == "model" else Probe(20, 6, command=told),
        )
    elif port:
        yield "startupProbe", Probe(_START_SECONDS, ceil(health.timeout_seconds / _START_SECONDS), health.path, port)
        yield "readinessProbe", Probe(5, 3, health.path, port)
        yield "livenessProbe", Probe(10, 6, health.path, port)
    elif service.reaches and not upstream:
        # It listens on nothing. That it does not live, the kubelet sees; of use it is as long as it is connected, with a
        # minute's patience for a gateway that is being replaced.
        yield "readinessProbe", Probe(5, 12, command=(_PYTHON, "-I", "/opt/paictl/health.py"))


def _asked_of_health(blueprint: Blueprint, service: Service) -> Mapping[str, str]:
    """What tells ``health.py`` its question."""
    if service.health.endpoint or not service.reaches:
        return {}
    name, _, endpoint = service.reaches[0].partition("/")
    return {"PAICTL_HEALTH": f"connected:{blueprint.service(name).endpoint(endpoint).port}"}


def runtime_image(blueprint: Blueprint) -> str:
    """The image that is ours, where this cluster gets it."""
    registry = blueprint.cluster.registry
    return f"{registry}/{image(blueprint)}" if registry else image(blueprint)


def _upstream_image(blueprint: Blueprint, upstream: Upstream) -> str:
    """The published one; what is built from sources of ours is beside the runtime's own."""
    ours, registry = vpn_image.image(), blueprint.cluster.registry
    if upstream.reference == ours and registry:
        return f"{registry}/{ours.partition('/')[2]}"
    return upstream.reference


def service_map(blueprint: Blueprint, service: Service) -> Map:
    """The service's configuration."""
    text = configuration(service, by_names(blueprint, service, host="$({NAME}_SERVICE_HOST)"))
    return Map(
        name=f"{service.name}-{digest(text)}",
        component=service.name,
        key=PurePosixPath(service.config.path).name,
        text=text,
        plain=not isinstance(service.config.content, str),
    )


def weights_map(folder: ModelFolder) -> Map:
    """The list of a model's files."""
    text = listing(folder.files)
    return Map(name=f"{folder.name}-{digest(text)}", component=folder.name, key="weights.json", text=text)
