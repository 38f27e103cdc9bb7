"""The fixtures of every test that needs a Kubernetes cluster."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator

import pytest

from tests.kubernetes import lease as leases
from tests.kubernetes import runtime_image
from tests.kubernetes.access import Access
from tests.kubernetes.cluster import Cluster


def _leased(*, node: bool) -> Iterator[leases.Lease]:
    if reason := leases.lacking():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    held = leases.lease(node=node)
    left: list[str] = []
    try:
        yield held
    finally:
        left = held.close()
    assert not left, f"left behind in the cluster: {', '.join(left)}"


@pytest.fixture(scope="session")
def cluster() -> Iterator[leases.Lease]:
    """A real API server with controllers and a scheduler, and without a node: nothing that is scheduled ever runs."""
    yield from _leased(node=False)


@pytest.fixture(scope="session")
def node_cluster() -> Iterator[leases.Lease]:
    """One with a node that runs pods, with Services, names, volumes, and NetworkPolicies that are enforced."""
    yield from _leased(node=True)


@pytest.fixture(scope="session")
def workshop(node_cluster: leases.Lease) -> Iterator[runtime_image.Workshop]:
    """Where the images of a story are built for ``node_cluster``."""
    if reason := runtime_image.lacking(node_cluster):
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with runtime_image.opened(node_cluster) as made:
        yield made


@pytest.fixture
def private_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane for this test alone, which it may stop and kill."""
    if leases.given() is not None:
        pytest.skip("a cluster that is given is not ours to stop")
    if reason := leases.lacking():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("cluster")
    with (directory / "users.lock").open("a", encoding="ascii") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        made = Cluster(directory)
        made.start(directory / "users.lock")
        yield made
        made.stop()


@pytest.fixture
def namespace(cluster: leases.Lease) -> Iterator[str]:
    """An empty namespace of ``cluster``, gone afterwards."""
    yield from _namespace(cluster.access)


@pytest.fixture
def node_namespace(node_cluster: leases.Lease) -> Iterator[str]:
    """An empty namespace of ``node_cluster``, gone afterwards."""
    yield from _namespace(node_cluster.access)


def _namespace(access: Access) -> Iterator[str]:
    name = f"paictl-test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    access.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    # Its end takes seconds, which the next test need not wait for; the last user of the cluster does.
    access.kubectl("delete", "namespace", name, "--wait=false")
