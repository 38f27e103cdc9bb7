"""The engine and the cluster that the Docker and Kubernetes subjects stand on."""

from __future__ import annotations

from tests.docker.conftest import engine
from tests.kubernetes.conftest import node_cluster

__all__ = ["engine", "node_cluster"]
