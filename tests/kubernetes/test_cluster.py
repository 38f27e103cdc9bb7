from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.kubernetes import lease as leases
from tests.kubernetes.access import Refused
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.documents import READY_SECONDS, forwarded, pod, reaches, rolled_out, web
from tests.kubernetes.images import TINY
from tests.kubernetes.lease import Lease
from tests.waiting import until

pytestmark = pytest.mark.kubernetes


def test_a_pod_that_is_not_confined_is_refused_in_a_restricted_namespace(cluster: Lease, namespace: str) -> None:
    bad = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad"},
        "spec": {"containers": [{"name": "a", "image": TINY}]},
    }
    with cluster.access.client() as client:
        answer = client.post(f"/api/v1/namespaces/{namespace}/pods", json=bad)
    assert answer.status_code == httpx.codes.FORBIDDEN
    assert 'violates PodSecurity "restricted' in answer.json()["message"]


def test_a_field_that_the_schema_lacks_fails_a_server_side_apply(cluster: Lease, namespace: str) -> None:
    typo = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "daata": {"a": "b"}}
    path = f"/api/v1/namespaces/{namespace}/configmaps/a"
    asked = {"fieldManager": "test", "fieldValidation": "Strict"}
    kind = {"Content-Type": "application/apply-patch+yaml"}
    with cluster.access.client() as client:
        answer = client.patch(path, params=asked, headers=kind, content=json.dumps(typo))
        assert answer.is_error
        assert "field not declared in schema" in answer.json()["message"]
        assert client.get(path).status_code == httpx.codes.NOT_FOUND


def test_a_limited_user_may_do_what_its_role_says_and_nothing_else(
    cluster: Lease, namespace: str, tmp_path: Path
) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create", "patch"]}]
    limited = cluster.access.limited("someone", namespace, rules, tmp_path)
    limited.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}})
    with pytest.raises(Refused, match=r"cannot list resource .secrets."):
        limited.get("secrets")
    with pytest.raises(Refused, match="forbidden"):
        limited.get("configmaps", "--namespace=kube-system")


@pytest.mark.slow
def test_the_api_server_stops_and_comes_back_with_what_was_stored(private_cluster: Cluster) -> None:
    access = private_cluster.access
    kept = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kept", "namespace": "default"},
        "data": {"a": "b"},
    }
    access.apply(kept)
    private_cluster.stop_apiserver()
    with pytest.raises(Refused, match="refused"):
        access.get("configmap", "kept")
    private_cluster.start_apiserver()
    assert access.get("configmap", "kept")["data"] == {"a": "b"}
    access.kubectl("create", "deployment", "later", f"--image={TINY}", "--replicas=1")
    until(lambda: bool(access.get("pods", "--selector=app=later")["items"]), "the controllers' return")
    private_cluster.restart_apiserver()
    assert access.get("configmap", "kept")["data"] == {"a": "b"}


@pytest.mark.slow
def test_nothing_of_a_cluster_and_its_pods_outlives_a_user_that_is_killed(tmp_path: Path) -> None:
    if (reason := leases.lacking()) or leases.given():
        pytest.skip(reason or "a cluster that is given is not ours to stop")
    start = (
        "import fcntl, pathlib, sys\n"
        "from tests.kubernetes.cluster import Cluster\n"
        "from tests.kubernetes.node import Node\n"
        "directory = pathlib.Path(sys.argv[1])\n"
        "users = (directory / 'users.lock').open('a')\n"
        "fcntl.flock(users, fcntl.LOCK_SH)\n"
        "cluster = Cluster(directory)\n"
        "cluster.start(directory / 'users.lock')\n"
        "Node(cluster).start()\n"
        "print('started', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", start, str(tmp_path)]
    group = Cluster(tmp_path).namespaces.group
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
            assert user.stdout is not None
            assert user.stdout.readline() == "started\n"
            assert len(_processes(tmp_path)) > 8
            assert [*Path("/sys/fs/cgroup").glob(f"*/{group}/kubepods")]
            os.kill(user.pid, signal.SIGKILL)
        until(lambda: not _processes(tmp_path), "the end of every process")
        until(lambda: not [*Path("/sys/fs/cgroup").glob(f"*/{group}")], "the end of its control groups")
    finally:
        Cluster(tmp_path).stop()


def _processes(directory: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in word for word in process.info["cmdline"] or ()) and process.pid != os.getpid()
    ]


@pytest.mark.slow
def test_a_deployment_serves_answers_through_a_forwarded_port_and_tells_its_log(
    node_cluster: Lease, node_namespace: str
) -> None:
    access = node_cluster.access
    access.apply(*web("hello", node_namespace))
    rolled_out(access, "deployment/hello", node_namespace)
    with forwarded(access, node_namespace, "service/hello") as address:
        assert httpx.get(address, trust_env=False).text == "hello\n"
    assert "hello says hello" in access.kubectl("logs", "deployment/hello", f"--namespace={node_namespace}")


@pytest.mark.slow
def test_a_services_name_leads_to_its_pods_and_names_outside_to_nothing(
    node_cluster: Lease, node_namespace: str
) -> None:
    access = node_cluster.access
    access.apply(*web("server", node_namespace), *web("client", node_namespace))
    for name in ("server", "client"):
        rolled_out(access, f"deployment/{name}", node_namespace)
    assert reaches(access, node_namespace, "client", "http://server/")
    assert reaches(access, node_namespace, "client", f"http://server.{node_namespace}.svc.cluster.local/")
    assert not reaches(access, node_namespace, "client", "http://example.org/")


@pytest.mark.slow
def test_a_stateful_set_keeps_its_data_when_its_pod_is_replaced_and_its_volume_does_not_grow(
    node_cluster: Lease, node_namespace: str
) -> None:
    access = node_cluster.access
    where = {"name": "store", "namespace": node_namespace}
    template = pod(
        "sleep", "2147483647", labels={"app": "store"}, volumeMounts=[{"name": "data", "mountPath": "/data"}]
    )
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    spec = {
        "serviceName": "store",
        "selector": {"matchLabels": {"app": "store"}},
        "template": template,
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
    }
    access.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": where, "spec": spec})
    rolled_out(access, "statefulset/store", node_namespace)
    inside = ("exec", f"--namespace={node_namespace}", "store-0", "--", "sh", "-c")
    access.kubectl(*inside, "echo kept >/data/file")
    before = access.get("pod", "store-0", f"--namespace={node_namespace}")["metadata"]["uid"]
    access.kubectl("delete", "pod", "store-0", f"--namespace={node_namespace}", "--wait=true")
    rolled_out(access, "statefulset/store", node_namespace)
    assert access.get("pod", "store-0", f"--namespace={node_namespace}")["metadata"]["uid"] != before
    assert access.kubectl(*inside, "cat /data/file") == "kept\n"

    larger = '{"spec": {"resources": {"requests": {"storage": "2Mi"}}}}'
    with pytest.raises(Refused, match="storageclass that provisions the pvc must support resize"):
        access.kubectl("patch", "pvc", "data-store-0", f"--namespace={node_namespace}", f"--patch={larger}")


@pytest.mark.slow
def test_a_container_that_takes_more_memory_than_it_may_is_killed(node_cluster: Lease, node_namespace: str) -> None:
    access = node_cluster.access
    greedy = pod("sh", "-c", "a=x; while :; do a=$a$a; done", labels={}, restartPolicy="Never")
    greedy["metadata"] = {"name": "greedy", "namespace": node_namespace}
    access.apply({"apiVersion": "v1", "kind": "Pod", **greedy})
    wanted = "--for=jsonpath={.status.phase}=Failed"
    access.kubectl("wait", wanted, "pod/greedy", f"--namespace={node_namespace}", f"--timeout={READY_SECONDS}s")
    (status,) = access.get("pod", "greedy", f"--namespace={node_namespace}")["status"]["containerStatuses"]
    assert status["state"]["terminated"]["reason"] == "OOMKilled"


@pytest.mark.slow
def test_an_image_that_nobody_has_is_told_in_the_pods_state(node_cluster: Lease, node_namespace: str) -> None:
    access = node_cluster.access
    missing = pod("true", labels={}, restartPolicy="Never")
    missing["metadata"] = {"name": "missing", "namespace": node_namespace}
    missing["spec"]["containers"][0] |= {"image": "localhost/paictl-test/absent:1", "imagePullPolicy": "Never"}
    access.apply({"apiVersion": "v1", "kind": "Pod", **missing})

    def waiting() -> str:
        statuses = access.get("pod", "missing", f"--namespace={node_namespace}")["status"].get("containerStatuses", [])
        return "".join(status["state"].get("waiting", {}).get("reason", "") for status in statuses)

    until(lambda: waiting() == "ErrImageNeverPull", "the reason why it waits")
