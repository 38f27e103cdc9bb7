"""The kubernetes driver's plain files: one file a kind and a kustomization over them. Pure; called by `paictl render`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import PurePosixPath

from paictl.blueprint.types import Blueprint, SecretFile, Service
from paictl.render.arrows import Outside, destinations, ports_by_service
from paictl.render.containers import (
    ROOT,
    UID,
    ModelFolder,
    digest,
    image,
    image_files,
    listing,
    model_folders,
    models_of,
)
from paictl.render.environment import environment
from paictl.render.wiring import by_names, configuration

__all__ = ["documents", "files", "namespace_of"]

# In the order in which they have to exist.
_KINDS = (
    "namespace",
    "serviceaccounts",
    "configmaps",
    "persistentvolumeclaims",
    "networkpolicies",
    "services",
    "jobs",
    "deployments",
    "statefulsets",
    "poddisruptionbudgets",
)
_MEBIBYTE = 1 << 20
_DEFAULT_MEMORY = 1024 * _MEBIBYTE
_DATA_STORAGE = "5Gi"
# A first start may have to wait for its model files.
_FETCH_SECONDS = 3600
_PROBE_SECONDS = 2
_KEEP = """argocd.argoproj.io/sync-options: Prune=false,Delete=false
helm.sh/resource-policy: keep
kustomize.toolkit.fluxcd.io/prune: disabled"""


@dataclass(frozen=True, slots=True)
class _Map:
    """One ConfigMap with one file; ``plain`` text can stand in the file as it is."""

    name: str
    component: str
    key: str
    text: str
    plain: bool = True


@dataclass(frozen=True, slots=True)
class _Claim:
    name: str
    component: str
    storage: str
    holds_data: bool


@dataclass(frozen=True, slots=True)
class _Fetch:
    """The Job that brings one model's files into their claim."""

    name: str
    component: str
    folder: ModelFolder
    weights_map: str
    outside: tuple[Outside, ...]


@dataclass(frozen=True, slots=True)
class _Workload:
    """One service in Kubernetes' words; ``connects``: its addresses are filled in at the pod's start."""

    service: Service
    config_map: str
    connects: bool
    folders: tuple[ModelFolder, ...]
    weights_map: str
    secrets: tuple[SecretFile, ...]
    health_port: int
    reaches: Mapping[str, list[int]]
    reached_by: Mapping[str, list[int]]
    open_ports: tuple[int, ...]
    outside: tuple[Outside, ...]

    @property
    def init(self) -> bool:
        return self.connects or bool(self.folders)

    @property
    def config_key(self) -> str:
        return PurePosixPath(self.service.config.path).name

    @property
    def config_folder(self) -> str:
        return str(PurePosixPath(self.service.config.path).parent)

    @property
    def memory(self) -> str:
        return f"{ceil((self.service.limits.memory or _DEFAULT_MEMORY) / _MEBIBYTE)}Mi"

    @property
    def start_failures(self) -> int:
        return ceil(self.service.health.timeout_seconds / _PROBE_SECONDS)

    @property
    def deadline(self) -> int:
        return ceil(self.service.health.timeout_seconds) + (_FETCH_SECONDS if self.folders else 60)


def files(blueprint: Blueprint) -> Mapping[str, str]:
    """Path -> text of what `kubectl apply -k` takes, of the image's build context, and of examples of the secrets and of a Role."""
    fetchable = tuple(folder for folder in model_folders(blueprint) if folder.fetchable)
    templates, context = environment(), _context(blueprint, fetchable)
    found = _rendered(context)
    context["resources"] = list(found)
    found["kustomization.yaml"] = templates.get_template("kubernetes/kustomization.yaml.j2").render(context)
    found["README.md"] = templates.get_template("kubernetes/README.md.j2").render(context)
    found["role.example.yaml"] = templates.get_template("kubernetes/role.example.yaml.j2").render(context)
    if blueprint.secrets:
        found["secrets.example.yaml"] = templates.get_template("kubernetes/secrets.example.yaml.j2").render(context)
    return found | {f"image/{path}": text for path, text in image_files(blueprint).items()}


def documents(blueprint: Blueprint) -> list[str]:
    """The texts that say what is to stand, for the driver: it brings also the model files that no cluster can fetch."""
    return list(_rendered(_context(blueprint, model_folders(blueprint))).values())


def namespace_of(agent: str, namespace: str) -> str:
    """The text of the namespace alone."""
    context = {"blueprint": {"agent": agent}, "namespace": namespace, "keep": _KEEP}
    return environment().get_template("kubernetes/namespace.yaml.j2").render(context)


def _rendered(context: Mapping[str, object]) -> dict[str, str]:
    """The files of the kinds that there are any of."""
    templates = environment()
    rendered = {f"{kind}.yaml": templates.get_template(f"kubernetes/{kind}.yaml.j2").render(context) for kind in _KINDS}
    return {path: text for path, text in rendered.items() if "\nkind: " in text}


def _context(blueprint: Blueprint, fetched: tuple[ModelFolder, ...]) -> dict[str, object]:
    folders = model_folders(blueprint)
    fetches = tuple(_fetch(blueprint, folder) for folder in fetched)
    door, public = blueprint.public
    return {
        "blueprint": blueprint,
        "namespace": blueprint.namespace or blueprint.agent,
        "root": ROOT,
        "uid": UID,
        "image": image(blueprint),
        "keep": _KEEP,
        "workloads": [_workload(blueprint, service) for service in blueprint.services],
        "accounts": [service.name for service in blueprint.services] + [fetch.component for fetch in fetches],
        "config_maps": [
            *(_service_map(blueprint, service) for service in blueprint.services),
            *(_weights_map(folder) for folder in folders),
        ],
        "claims": list(_claims(blueprint)),
        "fetches": fetches,
        "folders": folders,
        "door": door.name,
        "port": public.port,
    }


def _workload(blueprint: Blueprint, service: Service) -> _Workload:
    folders = models_of(blueprint, service)
    asked = service.endpoint(service.health.endpoint) if service.health.endpoint else None
    here = f"{service.name}/"
    return _Workload(
        service=service,
        config_map=_service_map(blueprint, service).name,
        connects=bool(service.reaches),
        folders=folders,
        weights_map=_weights_map(folders[0]).name if folders else "",
        secrets=blueprint.secrets_of(service),
        health_port=asked.port if asked else 0,
        reaches=ports_by_service(blueprint, service.reaches),
        reached_by={
            other.name: ports_by_service(blueprint, [name for name in other.reaches if name.startswith(here)])[
                service.name
            ]
            for other in blueprint.services
            if any(name.startswith(here) for name in other.reaches)
        },
        open_ports=tuple(one.port for one in service.endpoints if one.open),
        outside=destinations(service.egress),
    )


def _service_map(blueprint: Blueprint, service: Service) -> _Map:
    text = configuration(service, by_names(blueprint, service, host="$({NAME}_SERVICE_HOST)"))
    return _Map(
        name=f"{service.name}-{digest(text)}",
        component=service.name,
        key=PurePosixPath(service.config.path).name,
        text=text,
        plain=not isinstance(service.config.content, str),
    )


def _weights_map(folder: ModelFolder) -> _Map:
    text = listing(folder.files)
    return _Map(name=f"{folder.name}-{digest(text)}", component=folder.name, key="weights.json", text=text)


def _fetch(blueprint: Blueprint, folder: ModelFolder) -> _Fetch:
    component = f"fetch-{PurePosixPath(folder.path).name}"
    return _Fetch(
        name=f"{component}-{digest(listing(folder.files) + image(blueprint))}",
        component=component,
        folder=folder,
        weights_map=_weights_map(folder).name,
        outside=destinations(folder.hosts),
    )


def _claims(blueprint: Blueprint) -> Iterator[_Claim]:
    for service in blueprint.services:
        for volume in service.volumes:
            yield _Claim(volume.name, service.name, _DATA_STORAGE, volume.holds_data)
    for folder in model_folders(blueprint):
        # A tenth more than the files: file systems keep some of what they are given.
        yield _Claim(folder.name, folder.name, f"{ceil(folder.space * 1.1 / _MEBIBYTE) + 16}Mi", holds_data=False)
