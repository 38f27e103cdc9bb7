"""The fixtures of the Kubernetes driver's tests: a small stack in a namespace of its own on a cluster whose pods run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from paictl.engine.points import OnPoint, pass_by
from paictl.engine.reconciler import Reconciler
from paictl.events import ignore
from tests.drivers.kubernetes.stack import Stack, made_stack
from tests.kubernetes.conftest import node_cluster
from tests.kubernetes.lease import Lease

__all__ = ["Reconciling", "node_cluster"]


class Reconciling(Protocol):
    """Makes a reconciler."""

    def __call__(self, on_point: OnPoint = ...) -> Reconciler: ...


@pytest.fixture
def stack(node_cluster: Lease, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setenv("KUBECONFIG", str(node_cluster.access.kubeconfig))
    with made_stack(node_cluster.access) as made:
        yield made


@pytest.fixture
def reconciler(stack: Stack, tmp_path: Path) -> Reconciling:
    """One for each call, as each run of the command line has. ``on_point`` is told of each point that it passes."""

    def made(on_point: OnPoint = pass_by) -> Reconciler:
        return Reconciler(
            scope=stack.scope,
            driver=stack.driver(),
            state_dir=tmp_path / "state",
            secrets=stack.secrets,
            who="alice",
            emit=ignore,
            on_point=on_point,
        )

    return made
