"""The engine, the cluster and the host that the subjects of Docker, Kubernetes and Ansible stand on."""

from __future__ import annotations

from tests.docker.conftest import engine
from tests.drivers.ansible.conftest import lan, shared
from tests.kubernetes.conftest import node_cluster

__all__ = ["engine", "lan", "node_cluster", "shared"]
