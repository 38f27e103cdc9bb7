"""Turns a blueprint into an engine's resources, by way of the files that `paictl render` writes: one source for both. Pure.

One resource a document, and one a secret, of which no document is ever written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from paictl.blueprint.types import Blueprint, SecretFile, Service, Weights
from paictl.drivers.kubernetes.documents import parse, spec_of
from paictl.drivers.kubernetes.kinds import KINDS, fixed_in
from paictl.drivers.kubernetes.naming import DRIVER
from paictl.engine.model import Address, DataEffect, Probe, Resource
from paictl.errors import Span
from paictl.render import kubernetes
from paictl.render.containers import ModelFolder, digest, model_folders

__all__ = ["SECRETS", "SOURCES", "resources"]

SECRETS = "paictl/secrets"
"""An annotation of pods: they are made anew when a secret that they read has another value."""

SOURCES = "paictl/sources"
"""An annotation of the Jobs that have model files fetched: where each comes from, for when this machine has to bring it."""

# What never becomes well fails at once, so that this is only for images that are slow to come.
_PULL_SECONDS = 300.0
_FETCH_SECONDS = 3600.0
_DENY = "default-deny"
_WORKLOADS = frozenset({"Deployment", "StatefulSet", "Job", "CronJob"})


def resources(blueprint: Blueprint) -> list[Resource]:
    """Everything that has to stand, dependencies first."""
    graph = _Graph(blueprint)
    return [*graph.secrets(), *(graph.resource(document) for document in graph.documents)]


class _Graph:
    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        texts = kubernetes.documents(blueprint)
        self.documents = [one for text in texts for one in parse(text) if one["kind"] in KINDS]

    def address(self, word: str, name: str) -> Address:
        return Address(self.blueprint.target, DRIVER, word, name)

    @cached_property
    def standing(self) -> Mapping[Address, Mapping[str, Any]]:
        """The documents by their addresses."""
        return {self.address(KINDS[one["kind"]].word, one["metadata"]["name"]): one for one in self.documents}

    @cached_property
    def folders(self) -> Mapping[str, ModelFolder]:
        """The models by the names of their volumes."""
        return {folder.name: folder for folder in model_folders(self.blueprint)}

    def secrets(self) -> Iterator[Resource]:
        for secret in (one for one in self.blueprint.secrets if not one.brought):
            spec = {
                "agent": self.blueprint.agent,
                "kind": "Secret",
                "apiVersion": "v1",
                "generated": secret.generated,
                "content": secret.fingerprint,
            }
            yield Resource(
                self.address("secret", secret.name),
                spec,
                holds_data=secret.generated,
                origin=secret.origin or self.blueprint.origin,
            )

    def resource(self, document: Mapping[str, Any]) -> Resource:
        kind, name = KINDS[document["kind"]], str(document["metadata"]["name"])
        component = (document["metadata"].get("labels") or {}).get("app.kubernetes.io/component", "")
        service = next((one for one in self.blueprint.services if one.name == component), None)
        spec = spec_of(self.blueprint.agent, document)
        if kind.word == "service" and service is not None:
            _restarted_with(spec, self.blueprint.secrets_of(service))
        more: dict[str, Any] = {"replace_on": fixed_in(document), "origin": self._origin(document, service)}
        if kind.word == "service" and service is not None:
            more["probe"] = Probe(service.health.timeout_seconds + _PULL_SECONDS, service.health.stable_seconds)
            more["downtime"] = kind.kind == "StatefulSet" and not service.scale.several
        if kind.kind == "Job":
            files = self._files(document)
            spec["annotations"] = {**spec["annotations"], SOURCES: _sources(files)}
            more["probe"] = Probe(_FETCH_SECONDS, 0.0)
            more["effect"] = DataEffect(download_bytes=sum(file.size for file in files))
            more["origin"] = next((file.origin for file in files if file.origin), self.blueprint.origin)
        if kind.word == "volume":
            more["holds_data"] = any(
                volume.holds_data for one in self.blueprint.services for volume in one.volumes if volume.name == name
            )
        needs = tuple(sorted(set(self._needs(document, service)))) if kind.kind in _WORKLOADS else ()
        return Resource(self.address(kind.word, name), spec, needs, **more)

    def _files(self, document: Mapping[str, Any]) -> list[Weights]:
        return [file for name in _claims(document) if name in self.folders for file in self.folders[name].files]

    def _needs(self, document: Mapping[str, Any], service: Service | None) -> Iterator[Address]:
        """What a pod finds when it starts, as its document names it, and what has to serve before."""
        found = [*_named(document), ("networkpolicy", _DENY)]
        found.append(("networkpolicy", str(document["metadata"]["labels"]["app.kubernetes.io/component"])))
        if service is not None:
            # The kubelet tells a pod the addresses of the Services that are there when it starts.
            found += [("endpoint", name) for name in (service.name, *service.neighbours)]
            found += [("service", name) for name in service.needs]
            jobs = ((address, one) for address, one in self.standing.items() if address.kind == "job")
            mine = set(_claims(document))
            found += [("job", address.name) for address, one in jobs if mine.intersection(_claims(one))]
        for word, name in found:
            address = self.address(word, name)
            made = any(one.name == name and not one.brought for one in self.blueprint.secrets)
            if address in self.standing or (word == "secret" and made):
                yield address

    def _origin(self, document: Mapping[str, Any], service: Service | None) -> Span | None:
        if service is None:
            return self.blueprint.origin
        named = (one.origin for one in service.volumes if one.name == document["metadata"]["name"])
        return next(named, None) or service.origin or self.blueprint.origin


def _restarted_with(spec: dict[str, Any], secrets: Iterable[SecretFile]) -> None:
    """Have the pods made anew when a secret changes: keyed fingerprints, never the values."""
    known = {one.name: one.fingerprint for one in secrets if one.fingerprint}
    if known:
        metadata = spec["template"].setdefault("metadata", {})
        metadata.setdefault("annotations", {})[SECRETS] = digest(json.dumps(known, sort_keys=True))


def _sources(files: Iterable[Weights]) -> str:
    told = [{"path": one.path, "source": one.source, "sha256": one.sha256, "size": one.size} for one in files]
    return json.dumps(told, sort_keys=True)


def _pod(document: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = document["spec"]
    template = spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]
    found: Mapping[str, Any] = template["spec"]
    return found


def _named(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    pod = _pod(document)
    yield "serviceaccount", str(pod.get("serviceAccountName", ""))
    for volume in pod.get("volumes") or ():
        if "configMap" in volume:
            yield "configmap", str(volume["configMap"]["name"])
        for source in (volume.get("projected") or {}).get("sources") or ():
            if "secret" in source:
                # Made by paictl, or by the operator that an ExternalSecret tells to.
                yield "secret", str(source["secret"]["name"])
                yield "externalsecret", str(source["secret"]["name"])
    yield from (("volume", name) for name in _claims(document))


def _claims(document: Mapping[str, Any]) -> list[str]:
    volumes = _pod(document).get("volumes") or ()
    return [str(one["persistentVolumeClaim"]["claimName"]) for one in volumes if "persistentVolumeClaim" in one]
