"""The kubernetes driver's plain files: one file a kind and a kustomization over them. Pure; called by `paictl render`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from paictl.blueprint import vpn_image
from paictl.blueprint.types import Blueprint
from paictl.render.arrows import Outside, destinations
from paictl.render.containers import ROOT, UID, ModelFolder, digest, image_files, listing, model_folders, models_of
from paictl.render.environment import environment
from paictl.render.workloads import MEBIBYTE, quantity, runtime_image, service_map, weights_map, workload

__all__ = ["documents", "files", "namespace_of"]

# In the order in which they have to exist; the files are named by it, since `kubectl apply -f DIR` goes by their names.
_KINDS = (
    "namespace",
    "serviceaccounts",
    "externalsecrets",
    "configmaps",
    "persistentvolumeclaims",
    "networkpolicies",
    "services",
    "jobs",
    "deployments",
    "statefulsets",
    "horizontalpodautoscalers",
    "poddisruptionbudgets",
    "ingresses",
    "httproutes",
)
_DATA_STORAGE = "5Gi"
_KEEP = """argocd.argoproj.io/sync-options: Prune=false,Delete=false
helm.sh/resource-policy: keep
kustomize.toolkit.fluxcd.io/prune: disabled"""
# Whoever syncs in waves waits for each: what fetches model files comes before what reads them. A claim is in the wave of the
# first who uses it, since many are not made before.
_BEFORE, _WITH_PODS = 0, 1


@dataclass(frozen=True, slots=True)
class _Claim:
    name: str
    component: str
    storage: str
    holds_data: bool
    storage_class: str
    shared: bool = False
    wave: int = _WITH_PODS


@dataclass(frozen=True, slots=True)
class _Fetch:
    """The Job that brings one model's files into their claim."""

    name: str
    component: str
    folder: ModelFolder
    weights_map: str
    outside: tuple[Outside, ...]
    node_selector: Mapping[str, str]
    tolerations: list[Mapping[str, str]]


def files(blueprint: Blueprint) -> Mapping[str, str]:
    """Path -> text of what `kubectl apply -f` and `-k` take, of the image's build context, and of examples of what is not in them."""
    fetchable = tuple(folder for folder in model_folders(blueprint) if folder.fetchable)
    context = _context(blueprint, fetchable)
    found = _rendered(context)
    context["resources"] = list(found)
    # Not kustomization.yaml: `kubectl apply -f DIR` would take it for an object of the cluster.
    found["Kustomization"] = _text("kustomization", context)
    found["README.md"] = _text("README.md", context)
    found["examples/role.yaml"] = _text("role.yaml", context)
    if context["own_secrets"]:
        found["examples/secrets.yaml"] = _text("secrets.yaml", context)
    if any(service.role == "vpn" for service in blueprint.services):
        found |= {f"vpn/{path}": text for path, text in vpn_image.sources().items()}
    return found | {f"image/{path}": text for path, text in image_files(blueprint).items()}


def documents(blueprint: Blueprint) -> list[str]:
    """The texts that say what is to stand, for the driver: it brings also the model files that no cluster can fetch."""
    return list(_rendered(_context(blueprint, model_folders(blueprint))).values())


def namespace_of(agent: str, namespace: str) -> str:
    """The text of the namespace alone."""
    return _text("namespace.yaml", {"blueprint": {"agent": agent}, "namespace": namespace, "keep": _KEEP})


def _text(template: str, context: Mapping[str, object]) -> str:
    return environment().get_template(f"kubernetes/{template}.j2").render(context)


def _rendered(context: Mapping[str, object]) -> dict[str, str]:
    """The files of the kinds that there are any of."""
    rendered = {f"{place:02}-{kind}.yaml": _text(f"{kind}.yaml", context) for place, kind in enumerate(_KINDS)}
    return {path: text for path, text in rendered.items() if "\nkind: " in text}


def _context(blueprint: Blueprint, fetched: tuple[ModelFolder, ...]) -> dict[str, object]:
    folders = model_folders(blueprint)
    fetches = tuple(_fetch(blueprint, folder) for folder in fetched)
    workloads = [workload(blueprint, service) for service in blueprint.services]
    door, public = blueprint.public
    return {
        "blueprint": blueprint,
        "cluster": blueprint.cluster,
        "namespace": blueprint.namespace or blueprint.agent,
        "root": ROOT,
        "uid": UID,
        "image": runtime_image(blueprint),
        "keep": _KEEP,
        "before": _BEFORE,
        "with_pods": _WITH_PODS,
        "workloads": workloads,
        "accounts": [service.name for service in blueprint.services] + [fetch.component for fetch in fetches],
        "config_maps": [
            *(service_map(blueprint, service) for service in blueprint.services if service.config.path),
            *(weights_map(folder) for folder in folders),
        ],
        "claims": list(_claims(blueprint, fetched)),
        "fetches": fetches,
        "folders": folders,
        "own_secrets": [secret for secret in blueprint.secrets if not secret.brought],
        "brought_secrets": [secret for secret in blueprint.secrets if secret.remote[0]],
        "door": door.name,
        "public": public,
        "vpn_image": next((one.image for one in workloads if one.service.role == "vpn"), ""),
    }


def _fetch(blueprint: Blueprint, folder: ModelFolder) -> _Fetch:
    component = f"fetch-{PurePosixPath(folder.path).name}"
    # Where the volume is made, its reader has to be able to run: some volumes never leave their node.
    reader = next((workload(blueprint, one) for one in blueprint.services if folder in models_of(blueprint, one)), None)
    return _Fetch(
        name=f"{component}-{digest(listing(folder.files) + runtime_image(blueprint))}",
        component=component,
        folder=folder,
        weights_map=weights_map(folder).name,
        outside=destinations(folder.hosts),
        node_selector=reader.node_selector if reader else blueprint.cluster.node_selector,
        tolerations=reader.tolerations if reader else [],
    )


def _claims(blueprint: Blueprint, fetched: tuple[ModelFolder, ...]) -> Iterator[_Claim]:
    cluster = blueprint.cluster
    for service in blueprint.services:
        # Each of several has volumes of its own, which its StatefulSet makes.
        for volume in () if service.scale.several else service.volumes:
            yield _Claim(volume.name, service.name, _DATA_STORAGE, volume.holds_data, cluster.storage_class)
    for folder in model_folders(blueprint):
        several = any(folder in models_of(blueprint, one) and one.scale.several for one in blueprint.services)
        shared = several and bool(cluster.shared_storage_class)
        yield _Claim(
            name=folder.name,
            component=folder.name,
            # A tenth more than the files: file systems keep some of what they are given.
            storage=quantity(folder.space * 1.1 + 16 * MEBIBYTE),
            holds_data=False,
            storage_class=cluster.shared_storage_class if shared else cluster.storage_class,
            shared=shared,
            wave=_BEFORE if folder in fetched else _WITH_PODS,
        )
