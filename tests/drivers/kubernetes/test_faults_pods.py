"""Workloads that can't become well, and what the next apply makes of them once the reason has gone."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from paictl.drivers.kubernetes.health import workload_health
from paictl.engine.model import Resource
from paictl.errors import PartlyApplied
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting
from tests.waiting import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]


def _failure(reconciler: Reconciling, *resources: Resource) -> str:
    with pytest.raises(PartlyApplied) as failed:
        reconciler().apply(wanting(resources))
    return f"{failed.value}"


def _spec(resource: Resource, **changes: Any) -> Resource:
    return Resource(
        resource.address, {**resource.spec, **changes}, probe=resource.probe, replace_on=resource.replace_on
    )


def _job(stack: Stack, name: str, command: str) -> Resource:
    spec = json.loads(json.dumps(stack.service("Deployment", "outer").spec["template"]))
    spec["spec"]["restartPolicy"] = "Never"
    (container,) = spec["spec"]["containers"]
    container |= {"name": name, "command": ["/bin/sh", "-c", command]}
    del container["readinessProbe"]
    probe = stack.service("Deployment", "outer").probe
    return stack.made("Job", name, {"spec": {"backoffLimit": 0, "template": spec}}, probe=probe)


@pytest.mark.promise(8, 10)
def test_a_quota_that_is_used_up_is_told_and_the_next_apply_goes_on_when_there_is_more(
    stack: Stack, reconciler: Reconciling
) -> None:
    where = {"name": "none", "namespace": stack.namespace}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": where, "spec": {"hard": {"pods": "0"}}}
    stack.access.apply(quota)
    here = f"--namespace={stack.namespace}"
    until(lambda: "hard" in stack.access.get(here, "quota/none").get("status", {}), "the quota")
    wanted = [
        stack.service("Deployment", "outer"),
        stack.service("StatefulSet", "inner"),
        _job(stack, "once", "echo done"),
    ]
    for one in wanted:
        begun = time.monotonic()
        told = _failure(reconciler, *wanted[: wanted.index(one) + 1])
        assert f"{one.address} failed: it can't become healthy: its pods can't be made" in told
        assert "exceeded quota: none" in told
        # Its probe would wait for three minutes.
        assert time.monotonic() - begun < 120
    stack.access.kubectl(here, "delete", "quota/none")
    reconciler().apply(wanting(wanted))
    assert reconciler().status().ready
    assert reconciler().plan(wanting(wanted)).empty


@pytest.mark.promise(8, 10)
def test_a_deployment_that_makes_no_progress_fails_at_its_deadline_and_the_next_apply_begins_anew(
    stack: Stack, reconciler: Reconciling
) -> None:
    never = {"exec": {"command": ["test", "-e", "/tmp/never"]}, "periodSeconds": 1}
    broken = _spec(stack.service("Deployment", "outer", readinessProbe=never), progressDeadlineSeconds=2)
    assert "has timed out progressing" in _failure(reconciler, broken)
    # Once more the same, as if it were the cluster that had been slow.
    begun = time.monotonic()
    assert "has timed out progressing" in _failure(reconciler, broken)
    assert time.monotonic() - begun > 2
    reconciler().apply(wanting([stack.service("Deployment", "outer")]))
    assert reconciler().status().ready


@pytest.mark.promise(8, 9)
def test_a_job_that_fails_is_told_with_its_last_lines_and_runs_anew_with_the_next_apply(
    stack: Stack, reconciler: Reconciling
) -> None:
    told = _failure(reconciler, _job(stack, "once", "echo it has no cake; exit 4"))
    assert "job/once failed: it can't become healthy: it failed: Job has reached the specified backoff limit" in told
    assert ": it has no cake" in told
    reconciler().apply(wanting([_job(stack, "once", "echo done")]))
    assert reconciler().plan(wanting([_job(stack, "once", "echo done")])).empty


@pytest.mark.promise(8)
def test_a_status_that_tells_of_the_time_before_a_change_is_not_believed(stack: Stack, reconciler: Reconciling) -> None:
    reconciler().apply(wanting([stack.service("Deployment", "outer")]))
    live = stack.access.get(f"--namespace={stack.namespace}", "deployment/outer")
    connection = stack.driver().connection
    assert workload_health(connection, live).state == "healthy"
    live["metadata"]["generation"] += 1
    assert workload_health(connection, live).state == "starting"


@pytest.mark.promise(10)
def test_what_somebody_removes_during_an_apply_is_named_and_made_again_by_the_next_one(
    stack: Stack, reconciler: Reconciling
) -> None:
    here = f"--namespace={stack.namespace}"
    wanted = [
        stack.made("ConfigMap", "extra", {"data": {"it": "1"}}),
        stack.service("Deployment", "outer", "configmap/extra"),
    ]

    def remove(point: str, about: str) -> None:
        if (point, about) == ("during-wait", "create:service/outer"):
            stack.access.kubectl(here, "delete", "deployment/outer", "configmap/extra")

    begun = time.monotonic()
    with pytest.raises(PartlyApplied, match="it is gone: somebody removed it meanwhile"):
        reconciler(remove).apply(wanting(wanted))
    assert time.monotonic() - begun < 120
    reconciler().apply(wanting(wanted))
    assert reconciler().plan(wanting(wanted)).empty


def test_a_delete_that_somebody_s_finalizer_blocks_names_it_and_goes_on_afterwards(
    stack: Stack, reconciler: Reconciling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paictl.drivers.kubernetes.applying._GONE_SECONDS", 1.0)
    wanted = [stack.made("ConfigMap", "extra", {"data": {"it": "1"}}), stack.made("ConfigMap", "other", {"data": {}})]
    reconciler().apply(wanting(wanted))
    here = f"--namespace={stack.namespace}"

    def finalizers(names: list[str]) -> None:
        patch = json.dumps({"metadata": {"finalizers": names}})
        stack.access.kubectl(here, "patch", "configmap/extra", "--type=merge", f"--patch={patch}")

    finalizers(["backup.example/keep"])
    with pytest.raises(
        PartlyApplied, match=r"configmap/extra does not go: it waits for backup.example/keep. Whoever set"
    ):
        reconciler().apply(wanting(wanted[1:]))
    # Refused deletes stay in the record.
    assert [str(one.address) for one in reconciler().plan(wanting(wanted[1:])).steps] == ["configmap/extra"]
    freed = threading.Timer(0.3, finalizers, [[]])
    freed.start()
    reconciler().apply(wanting(wanted[1:]))
    freed.join()
    assert reconciler().plan(wanting(wanted[1:])).empty


def test_a_pod_that_does_not_end_keeps_its_deployment_and_is_told(
    stack: Stack, reconciler: Reconciling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paictl.drivers.kubernetes.applying._GONE_SECONDS", 1.0)
    reconciler().apply(wanting([stack.service("Deployment", "outer")]))
    here = f"--namespace={stack.namespace}"
    (pod,) = stack.access.get("pods", here)["items"]

    def finalizers(names: list[str]) -> None:
        patch = json.dumps({"metadata": {"finalizers": names}})
        stack.access.kubectl(here, "patch", f"pod/{pod['metadata']['name']}", "--type=merge", f"--patch={patch}")

    finalizers(["mesh.example/drain"])
    with pytest.raises(PartlyApplied, match=r"service/outer does not go: .*`kubectl get pods` shows which"):
        reconciler().destroy()
    finalizers([])
    monkeypatch.undo()
    monkeypatch.setenv("KUBECONFIG", str(stack.access.kubeconfig))
    reconciler().destroy()
    assert stack.leftovers() == []
