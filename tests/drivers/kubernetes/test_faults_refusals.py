"""What the API server does not take is told before anything is changed, with what to do; and what can't be changed is replaced."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from paictl.drivers.kubernetes import preflight
from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.driver import KubernetesDriver
from paictl.engine.driver import Scope
from paictl.engine.intent import Desired, Options
from paictl.engine.model import Resource
from paictl.engine.reconciler import Reconciler
from paictl.errors import PaictlError, PartlyApplied, ProtectedData, Refused
from paictl.events import ignore
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting
from tests.kubernetes.access import Access
from tests.kubernetes.proxy import proxied
from tests.render.blueprints import QUICKSTART
from tests.waiting import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

_KINDS = (
    "configmaps,secrets,persistentvolumeclaims,services,serviceaccounts,deployments,statefulsets,jobs,networkpolicies"
)


def _tried(stack: Stack, *resources: Resource) -> str:
    """What the preflight says of them."""
    driver = stack.driver()
    standing = driver.observe(stack.scope)
    with pytest.raises(Refused) as refused:
        preflight.check(driver.connection, stack.scope, stack.namespace, resources, standing)
    return f"{refused.value.summary}\n{refused.value.help}"


def _forbid(stack: Stack, **hard: str) -> None:
    where = {"name": "none", "namespace": stack.namespace}
    stack.access.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": where, "spec": {"hard": hard}})
    here = f"--namespace={stack.namespace}"
    until(lambda: "hard" in stack.access.get(here, "quota/none").get("status", {}), "the quota")


def test_one_document_that_is_refused_at_the_end_keeps_everything_from_being_changed(
    stack: Stack, tmp_path: Path
) -> None:
    # The quickstart's documents of these kinds come last, and each is told.
    _forbid(stack, **{"count/statefulsets.apps": "0", "count/jobs.batch": "0"})
    driver = stack.driver()
    scope = Scope(QUICKSTART.agent, QUICKSTART.target)
    reconciler = Reconciler(
        scope=scope, driver=driver, state_dir=tmp_path / "state", secrets=stack.secrets, who="alice", emit=ignore
    )
    with pytest.raises(Refused, match=r"(?s)trying job/.* exceeded quota.*trying service/agent.* exceeded quota"):
        reconciler.apply(lambda: Desired.of(driver, QUICKSTART, manifest="m", lock="l"))
    here = f"--namespace={stack.namespace}"
    left = {one["metadata"]["name"] for one in stack.access.get(_KINDS, here)["items"]}
    assert left == {"kube-root-ca.crt", "default"}


def test_a_field_that_no_kind_has_is_refused_at_once(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(stack.access, tmp_path) as proxy:
        monkeypatch.setenv("KUBECONFIG", str(proxy.access.kubeconfig))
        told = _tried(stack, stack.made("ConfigMap", "extra", {"dat": {"it": "1"}}))
        assert "field not declared in schema" in told
        assert "the document says it wrongly, or the cluster is too old" in told
        assert "imagePullPolice" in _tried(stack, stack.service("Deployment", "outer", imagePullPolice="Always"))
        # It is a 500 of the API server, and still nothing that passes.
        assert (proxy.counted["PATCH", "configmaps"], proxy.counted["PATCH", "deployments"]) == (1, 1)
    assert stack.leftovers() == []


def test_the_replacement_of_what_can_not_be_changed_is_tried_before_the_old_one_goes(
    stack: Stack, reconciler: Reconciling
) -> None:
    reconciler().apply(wanting([stack.service("Deployment", "outer")]))
    stack.agent, agent = f"{stack.agent}x", stack.agent
    moved = stack.service("Deployment", "outer", imagePullPolice="Always")
    stack.agent = agent
    moved = Resource(moved.address, {**moved.spec, "agent": agent}, replace_on=moved.replace_on)
    assert "imagePullPolice" in _tried(stack, moved)


@pytest.mark.promise(11)
def test_what_can_not_be_changed_is_replaced_as_the_plan_says(stack: Stack, reconciler: Reconciling) -> None:
    first = stack.service("Deployment", "outer")
    reconciler().apply(wanting([first]))
    changed = json.loads(json.dumps(dict(first.spec)))
    for labels in (changed["selector"]["matchLabels"], changed["template"]["metadata"]["labels"]):
        labels["tier"] = "front"
    second = Resource(first.address, changed, probe=first.probe, replace_on=first.replace_on)
    (step,) = reconciler().plan(wanting([second])).steps
    assert (step.action, step.downtime) == ("replace", True)
    assert step.cause.startswith("selector.matchLabels.tier, ")
    assert step.cause.endswith(", which can't be done in place")
    reconciler().apply(wanting([second]))
    assert reconciler().plan(wanting([second])).empty
    here = f"--namespace={stack.namespace}"
    assert len(stack.access.get("replicasets", here)["items"]) == 1


@pytest.mark.promise(2)
def test_what_nobody_can_change_and_somebody_put_another_in_place_of_is_replaced(
    stack: Stack, reconciler: Reconciling
) -> None:
    wanted = [stack.made("ConfigMap", "extra", {"immutable": True, "data": {"it": "1"}})]
    reconciler().apply(wanting(wanted))
    here = f"--namespace={stack.namespace}"
    live = stack.access.get(here, "configmap/extra")
    live["data"]["it"] = "2"
    stack.access.kubectl("replace", "--force", "--filename=-", given=live)
    (step,) = reconciler().plan(wanting(wanted)).steps
    assert (step.action, step.cause) == ("replace", "data.it was changed by hand, which can't be done in place")
    reconciler().apply(wanting(wanted))
    assert stack.access.get(here, "configmap/extra")["data"] == {"it": "1"}
    assert reconciler().plan(wanting(wanted)).empty


@pytest.mark.promise(12)
def test_a_volume_that_can_not_grow_or_shrink_is_told_and_stays(stack: Stack, reconciler: Reconciling) -> None:
    def wanted(size: str, mode: str = "ReadWriteOnce") -> list[Resource]:
        spec = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
        claim = stack.made("PersistentVolumeClaim", "door", {"spec": spec}, holds_data=True)
        return [claim, stack.service("StatefulSet", "inner", "volume/door")]

    reconciler().apply(wanting(wanted("16Mi")))
    here = f"--namespace={stack.namespace}"
    before = stack.access.get("persistentvolumeclaim/door", here)
    assert "have an administrator set allowVolumeExpansion" in _tried(stack, *wanted("32Mi"))
    assert "ask for the size that it has" in _tried(stack, *wanted("8Mi"))
    with pytest.raises(PartlyApplied, match=r"volume/door failed: .*allowVolumeExpansion"):
        reconciler().apply(wanting(wanted("32Mi")))
    with pytest.raises(ProtectedData):
        reconciler().apply(wanting(wanted("16Mi", "ReadOnlyMany")))
    after = stack.access.get("persistentvolumeclaim/door", here)
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    reconciler().apply(wanting(wanted("16Mi")))
    assert reconciler().plan(wanting(wanted("16Mi"))).empty


def _own(stack: Stack) -> tuple[Stack, KubernetesDriver]:
    """An agent whose namespace is made for it."""
    own = Stack(stack.access, f"{stack.agent}-own", f"{stack.agent}-own")
    driver = KubernetesDriver(Connection())
    stack.opened.append(driver)
    return own, driver


def _desk(own: Stack, driver: KubernetesDriver, state: Path) -> Reconciler:
    return Reconciler(scope=own.scope, driver=driver, state_dir=state, secrets=own.secrets, who="alice", emit=ignore)


def _stands(access: Access, namespace: str) -> bool:
    return bool(access.kubectl("get", "namespace", namespace, "--ignore-not-found"))


@pytest.mark.promise(10)
def test_a_namespace_that_is_being_removed_is_waited_for_and_what_holds_it_is_named(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, driver = _own(stack)
    wanted = wanting([own.made("ConfigMap", "extra", {"data": {"it": "1"}})])
    _desk(own, driver, tmp_path).apply(wanted)
    here = f"--namespace={own.namespace}"

    def finalizers(names: list[str]) -> None:
        patch = json.dumps({"metadata": {"finalizers": names}})
        stack.access.kubectl(here, "patch", "configmap/extra", "--type=merge", f"--patch={patch}")

    finalizers(["backup.example/keep"])
    stack.access.kubectl("delete", "namespace", own.namespace, "--wait=false")
    remaining = "jsonpath={.status.conditions[?(@.type=='NamespaceFinalizersRemaining')].status}=True"
    stack.access.kubectl("wait", f"namespace/{own.namespace}", f"--for={remaining}", "--timeout=60s")
    with monkeypatch.context() as patch:
        patch.setattr("paictl.drivers.kubernetes.namespaces._END_SECONDS", 1.0)
        with pytest.raises(PaictlError, match=r"is being removed and does not go: .*backup.example/keep in 1 resource"):
            _desk(own, driver, tmp_path).apply(wanted)
    freed = threading.Timer(1.0, finalizers, [[]])
    freed.start()
    _desk(own, driver, tmp_path).apply(wanted)
    freed.join()
    assert stack.access.get(here, "configmap/extra")["data"] == {"it": "1"}
    _desk(own, driver, tmp_path).destroy()
    assert not _stands(stack.access, own.namespace)


@pytest.mark.promise(7, 12, 13)
def test_a_destroy_leaves_data_and_what_is_not_ours_and_the_namespace_as_long_as_there_is_any(
    stack: Stack, tmp_path: Path, reconciler: Reconciling
) -> None:
    own, driver = _own(stack)
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}
    wanted = [
        own.made("ConfigMap", "extra", {"data": {"it": "1"}}),
        own.made("PersistentVolumeClaim", "door", {"spec": claim}, holds_data=True),
    ]
    _desk(own, driver, tmp_path / "own").apply(wanting(wanted))
    # Which pods it lets in is taken back with each lock.
    enforce = "pod-security.kubernetes.io/enforce"
    stack.access.kubectl("label", "namespace", own.namespace, f"{enforce}=privileged", "--overwrite")
    _desk(own, driver, tmp_path / "own").apply(wanting(wanted))
    assert stack.access.get("namespace", own.namespace)["metadata"]["labels"][enforce] == "restricted"
    _desk(own, driver, tmp_path / "own").destroy()
    left = stack.access.get(_KINDS, f"--namespace={own.namespace}")["items"]
    assert {one["metadata"]["name"] for one in left} == {"door", f"{own.agent}-paictl", "kube-root-ca.crt", "default"}
    where = {"name": "theirs", "namespace": own.namespace}
    stack.access.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": where, "data": {}})
    _desk(own, driver, tmp_path / "own").destroy(Options(delete_data=frozenset({"volume/door"})))
    left = stack.access.get(f"{_KINDS},leases", f"--namespace={own.namespace}")["items"]
    assert {one["metadata"]["name"] for one in left} == {"theirs", "kube-root-ca.crt", "default"}
    stack.access.kubectl("delete", "configmap/theirs", f"--namespace={own.namespace}")
    _desk(own, driver, tmp_path / "own").destroy()
    assert not _stands(stack.access, own.namespace)
    # One that somebody else made stays, however empty.
    reconciler().apply(wanting([stack.made("ConfigMap", "extra", {"data": {"it": "1"}})]))
    reconciler().destroy()
    assert stack.access.get("namespace", stack.namespace)["status"]["phase"] == "Active"
    assert stack.leftovers() == []


def test_rights_that_lack_are_told_all_at_once_with_their_lines(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules: list[dict[str, Any]] = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]},
    ]
    access = stack.access.limited("less", stack.namespace, rules, tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(access.kubeconfig))
    told = _tried(stack, *stack.resources())
    for group, resource in (("", "persistentvolumeclaims"), ("apps", "statefulsets"), ("apps", "deployments")):
        assert f'- {{apiGroups: ["{group}"], resources: ["{resource}"], verbs: ["patch"]}}' in told
    blind = stack.access.limited("blind", stack.namespace, [*rules[1:]], tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(blind.kubeconfig))
    with pytest.raises(PaictlError) as refused:
        stack.driver().observe(stack.scope)
    assert 'verbs: ["list"]' in refused.value.help
