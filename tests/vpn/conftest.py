"""The cluster of the VPN's tests is everybody's."""

from __future__ import annotations

from tests.kubernetes.conftest import node_cluster, node_namespace

__all__ = ["node_cluster", "node_namespace"]
