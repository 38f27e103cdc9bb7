"""An API server that is overloaded, fails, is cut off, or dies in the middle: what is under way goes on, or says why not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paictl.drivers.kubernetes import connection
from paictl.engine.intent import Options
from paictl.engine.model import Resource
from paictl.engine.reconciler import Reconciler
from paictl.errors import PaictlError, PartlyApplied, Unreachable
from paictl.events import ignore
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.conftest import private_cluster
from tests.kubernetes.proxy import CUT, LOST, Fault, Proxy, every, proxied
from tests.waiting import until

__all__ = ["private_cluster"]

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

_ALL = Options(delete_data=frozenset({"volume/door"}))
_BURST = (Fault(429, "1"), Fault(500), CUT, Fault(503), LOST, Fault(504), Fault(429))


@pytest.fixture
def proxy(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """All that the stack's drivers ask goes through it."""
    with proxied(stack.access, tmp_path) as made:
        monkeypatch.setenv("KUBECONFIG", str(made.access.kubeconfig))
        yield made


@pytest.mark.promise(14)
def test_bursts_of_429_and_500_and_lost_answers_change_nothing_about_what_comes_of_it(
    stack: Stack, reconciler: Reconciling, proxy: Proxy
) -> None:
    proxy.fault = every(3, _BURST)
    reconciler().apply(wanting(stack.resources()))
    assert sorted(one for one in stack.leftovers() if not one.startswith("Pod/")) == sorted(
        [
            f"ConfigMap/{stack.agent}-paictl",
            "ConfigMap/extra",
            "Deployment/outer",
            "PersistentVolumeClaim/door",
            "StatefulSet/inner",
        ]
    )
    stack.say["inner"] = "something else"
    reconciler().apply(wanting(stack.resources()))
    assert reconciler().plan(wanting(stack.resources())).empty
    reconciler().destroy(_ALL)
    proxy.fault = every(1_000_000, _BURST)
    assert stack.leftovers() == []


@pytest.mark.promise(4)
@pytest.mark.parametrize("kind", ["networkpolicies", "secrets", "deployments"])
def test_a_kind_that_can_not_be_read_is_an_error_and_never_nothing(
    stack: Stack, reconciler: Reconciling, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(connection, "_PATIENCE_SECONDS", 0.5)
    proxy.fault = lambda _number, verb, asked: Fault(500) if (verb, asked) == ("GET", kind) else None
    with pytest.raises(PaictlError, match=f"reading {kind}"):
        reconciler().plan(wanting(stack.resources()))
    assert {verb for verb, _ in proxy.asked} == {"GET"}


def test_who_asks_for_more_patience_than_there_is_is_not_waited_for(
    stack: Stack, reconciler: Reconciling, proxy: Proxy
) -> None:
    proxy.fault = lambda _number, verb, _kind: Fault(429, "3600") if verb == "PATCH" else None
    with pytest.raises(PartlyApplied, match="refused while making configmap/extra: a fault of the test's"):
        reconciler().apply(wanting([stack.made("ConfigMap", "extra", {"data": {"it": "1"}})]))
    assert proxy.counted["PATCH", "configmaps"] == 1


@pytest.fixture
def plane(private_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A control plane without nodes that may be killed: everything that needs no pod."""
    monkeypatch.setenv("KUBECONFIG", str(private_cluster.kubeconfig))
    private_cluster.access.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "there"}})
    made = Stack(private_cluster.access, "there")
    yield made
    for driver in made.opened:
        driver.connection.close()


def _podless(stack: Stack) -> list[Resource]:
    """A chain, so that some of it is done and some is not begun when the server dies."""
    made: list[Resource] = []
    for number in range(8):
        needs = [f"configmap/part-{number - 1}"] if number else []
        made.append(stack.made("ConfigMap", f"part-{number}", {"data": {"it": "1"}}, *needs))
    return made


def _reconciler(stack: Stack, state: Path, on_point: Callable[[str, str], None] = lambda *_: None) -> Reconciler:
    return Reconciler(
        scope=stack.scope,
        driver=stack.driver(),
        state_dir=state,
        secrets=stack.secrets,
        who="alice",
        emit=ignore,
        on_point=on_point,
    )


@pytest.mark.promise(10, 14)
def test_an_apply_goes_on_over_a_restart_of_the_api_server_and_otherwise_says_what_is_left(
    plane: Stack, private_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, restarts = _podless(plane), []

    def restarted(point: str, about: str) -> None:
        if (point, about) == ("after-begin", "create:configmap/part-3"):
            private_cluster.stop_apiserver()
            restarts.append(threading.Thread(target=private_cluster.start_apiserver))
            restarts[-1].start()

    applied = _reconciler(plane, tmp_path / "state", restarted).apply(wanting(wanted))
    restarts[0].join()
    assert len(applied.outcome.done) == len(wanted)
    assert _reconciler(plane, tmp_path / "state").plan(wanting(wanted)).empty

    monkeypatch.setattr(connection, "_PATIENCE_SECONDS", 2.0)
    changed = [plane.made("ConfigMap", one.address.name, {"data": {"it": "2"}}, *_needs(one)) for one in wanted]

    def stopped(point: str, about: str) -> None:
        if (point, about) == ("after-begin", "update:configmap/part-3"):
            private_cluster.stop_apiserver()

    begun = time.monotonic()
    with pytest.raises(
        PartlyApplied, match=r"(?s)can't be reached.*3 steps done, 1 failed \(configmap/part-3\), 4 not started"
    ):
        _reconciler(plane, tmp_path / "state", stopped).apply(wanting(changed))
    assert time.monotonic() - begun < 60
    with pytest.raises(Unreachable, match="can't be reached"):
        _reconciler(plane, tmp_path / "state").plan(wanting(changed))
    private_cluster.start_apiserver()
    _reconciler(plane, tmp_path / "state").apply(wanting(changed))
    assert _reconciler(plane, tmp_path / "state").plan(wanting(changed)).empty
    here = f"--namespace={plane.namespace}"
    until(lambda: not plane.access.get("leases", here)["items"], "the end of the lock", 5)


def _needs(resource: Resource) -> list[Any]:
    return [str(one) for one in resource.depends_on]
