"""How the runtime's own image comes to a cluster: built and pushed from here, where the registry lacks it. Called by the driver."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Protocol

from paictl.blueprint.types import Blueprint
from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.troubles import ApiError
from paictl.engine.model import Observation
from paictl.errors import PaictlError, Refused, Unreachable
from paictl.events import Emit
from paictl.render.workloads import runtime_image

__all__ = ["Images", "Workshop"]


class Workshop(Protocol):
    """What can build and push images; a container engine of this machine."""

    @property
    def architecture(self) -> str:
        """The processor that it builds for (``amd64``); raises ``Unreachable`` where there is none."""
        ...

    def has(self, reference: str) -> bool:
        """Whether a registry has the image; raises ``PaictlError`` when that can't be told."""
        ...

    def publish(self, blueprint: Blueprint, reference: str, emit: Emit, address: str, *, offline: bool) -> None:
        """Build the blueprint's image and push it."""
        ...


class Images:
    """What one run knows of the runtime's image: looked at before anything changes, pushed before the first pod wants it."""

    def __init__(self, workshop: Workshop | None) -> None:
        self._workshop = workshop
        self._lock = threading.Lock()
        self._missing: Blueprint | None = None
        self._failed: PaictlError | None = None

    def look(self, connection: Connection, blueprint: Blueprint, observation: Observation) -> None:
        """Find out whether the registry lacks it; raises ``Refused`` when what would be pushed can't run in this cluster."""
        self._missing = self._failed = None
        reference = runtime_image(blueprint)
        if self._workshop is None or not blueprint.cluster.registry or reference in set(_standing(observation)):
            return
        try:
            if self._workshop.has(reference):
                return
        except Unreachable:
            # No engine here, or no way from it to the registry: then somebody else pushes it, or a pod that waits for it says how.
            return
        _runs_here(connection, self._workshop.architecture)
        self._missing = blueprint

    def bring(self, emit: Emit, address: str, *, offline: bool) -> None:
        """Build and push what the registry lacks, once; whoever needs it at the same time waits, and hears how it went."""
        with self._lock:
            if self._failed is not None:
                raise self._failed
            if self._missing is None or self._workshop is None:
                return
            try:
                self._workshop.publish(self._missing, runtime_image(self._missing), emit, address, offline=offline)
            except PaictlError as error:
                self._failed = error
                raise
            self._missing = None


def _standing(observation: Observation) -> Iterator[str]:
    """The images that pods run already, so that the cluster has come by them."""
    for one in observation.resources:
        template = one.spec.get("template")
        if one.health.state == "healthy" and isinstance(template, Mapping):
            yield from (str(each.get("image")) for each in template["spec"]["containers"])


def _runs_here(connection: Connection, architecture: str) -> None:
    try:
        nodes = connection.ask("/api/v1/nodes", "looking at the nodes")["items"]
    except ApiError as no:
        if no.status != HTTPStatus.FORBIDDEN:
            raise
        return  # who may only use a namespace is told nothing of them
    found = sorted({str(one["status"]["nodeInfo"]["architecture"]) for one in nodes})
    if found and architecture not in found:
        raise Refused(
            f"the engine of this machine builds for {architecture}, and the cluster's nodes are {', '.join(found)}",
            help="Build it on such a machine: `paictl render -o DIR`, `docker build DIR/image`, `docker push`.",
        )
