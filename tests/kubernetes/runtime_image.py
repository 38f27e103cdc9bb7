"""The runtime's image that a manifest asks for, built by paictl's own code on a Docker engine and given to a cluster's node.

Used by the stories, as a person's pipeline would: nothing on the cluster builds images, and no registry takes part.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import docker
import docker.errors

from paictl.blueprint.types import Blueprint
from paictl.cli.resolution import resolve
from paictl.cli.rules import Rules
from paictl.drivers.docker import images
from paictl.events import ignore
from paictl.manifest.load import load
from paictl.render.containers import image, image_directories, volumes_of_others
from tests.docker import engine as engines
from tests.docker import stock
from tests.docker.debian import alone
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.lease import Lease
from tests.kubernetes.node import Node

__all__ = ["LOADER", "Workshop", "lacking", "opened"]

LOADER = "PAICTL_TEST_KUBERNETES_LOAD"
"""The command that gives a cluster of others the images of a file, whose path is added: ``kind load image-archive``, say."""


def lacking(held: Lease) -> str:
    """Why no image can be brought to this cluster, and what would change that; empty when one can."""
    if _node(held) is None and not os.environ.get(LOADER):
        return f"how the cluster that is given takes images is not known: set {LOADER}, such as to `kind load image-archive`"
    reason = engines.lacking()
    return f"the runtime's image is built on a Docker engine, and {reason}" if reason else ""


@dataclass
class Workshop:
    """An engine that builds for one cluster. What it made stays on the engine until ``opened`` ends, for its layers."""

    held: Lease
    api: docker.APIClient
    _made: list[str] = field(default_factory=list, init=False)

    def base(self) -> str:
        """What a manifest says for ``images.base``."""
        return stock.base(self.api)

    def bring(self, manifest: Path, environment: Mapping[str, str]) -> str:
        """Have the image of the manifest's agent where its pods run; its name."""
        blueprint = _blueprint(manifest, environment)
        # The second of two workers finds most layers made by the first.
        with alone("kubernetes-runtime"):
            self._build(blueprint)
            self.load(image(blueprint))
        return image(blueprint)

    def load(self, reference: str) -> None:
        """Give the cluster an image that the engine has."""
        node = _node(self.held)
        if node is not None:
            node.load_from(self.api, reference)
            return
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
            archive.writelines(self.api.get_image(reference))
            archive.flush()
            subprocess.run([*shlex.split(os.environ[LOADER]), archive.name], check=True, stdout=subprocess.DEVNULL)

    def clear(self) -> None:
        """Take away from the engine what was made for the cluster."""
        for reference in self._made:
            with suppress(docker.errors.NotFound):
                self.api.remove_image(reference, force=True)

    def _build(self, blueprint: Blueprint) -> None:
        spec = {
            "tag": image(blueprint),
            "base": blueprint.base,
            "directories": image_directories(blueprint),
            "volumes": volumes_of_others(blueprint),
            "runtime": blueprint.runtime.digest,
            "labels": {"paictl.test": "kubernetes"},
        }
        self._made.append(image(blueprint))
        images.build(self.api, spec, ignore, offline=False)


@contextmanager
def opened(held: Lease) -> Iterator[Workshop]:
    """One with the tests' engine, which is held meanwhile. ``lacking`` must be empty."""
    engine = engines.lease()
    try:
        api = docker.APIClient(base_url=engine.host, version="auto", timeout=300)
        workshop = Workshop(held, api)
        try:
            yield workshop
        finally:
            workshop.clear()
            api.close()
    finally:
        left = engine.close()
    # On one that is not ours alone, others are at work.
    assert not left or engine.engine is None, f"left behind on the engine: {', '.join(left)}"


def _blueprint(manifest: Path, environment: Mapping[str, str]) -> Blueprint:
    """What the manifest comes to on its target; nothing is written beside it."""
    loaded = load([manifest], env=environment, cwd=manifest.parent)
    return resolve(loaded, Rules(download=True, driver="kubernetes")).blueprint


def _node(held: Lease) -> Node | None:
    """Also of a cluster that ``python -m tests.kubernetes start`` keeps."""
    if held.node is not None:
        return held.node
    cluster = Cluster(held.access.kubeconfig.parent)
    return Node(cluster) if cluster.namespaces.first() else None
