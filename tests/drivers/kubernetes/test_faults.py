from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.documents import parse
from paictl.drivers.kubernetes.driver import KubernetesDriver
from paictl.engine.driver import Holder, Scope
from paictl.engine.intent import Options
from paictl.engine.model import Resource
from paictl.errors import LockHeld, PaictlError, PartlyApplied
from paictl.render.kubernetes import files
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting
from tests.render.blueprints import QUICKSTART

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

_ME = Holder("alice", "desk", 1, "2026-01-02T03:04:05+00:00", "apply")


def _failure(reconciler: Reconciling, resources: list[Resource]) -> str:
    with pytest.raises(PaictlError) as failed:
        reconciler().apply(wanting(resources))
    return f"{failed.value.summary}\n{failed.value.help}"


@pytest.mark.promise(2)
def test_what_a_person_changed_by_hand_is_named_and_mended(stack: Stack, reconciler: Reconciling) -> None:
    wanted = [stack.made("ConfigMap", "extra", {"data": {"it": "1"}}), stack.service("Deployment", "outer")]
    reconciler().apply(wanting(wanted))
    here = f"--namespace={stack.namespace}"
    stack.access.kubectl(here, "scale", "deployment/outer", "--replicas=2")
    stack.access.kubectl(here, "patch", "configmap/extra", "--patch", '{"data":{"it":"2"}}')
    plan = {str(step.address): step.cause for step in reconciler().plan(wanting(wanted)).steps}
    assert plan == {
        "configmap/extra": "data.it was changed by hand",
        "service/outer": "replicas was changed by hand",
    }
    reconciler().apply(wanting(wanted))
    assert stack.access.get(here, "deployment/outer")["spec"]["replicas"] == 1
    assert stack.access.get(here, "configmap/extra")["data"] == {"it": "1"}
    assert reconciler().plan(wanting(wanted)).empty


@pytest.mark.promise(13)
def test_what_another_tool_applies_is_not_taken_from_it(stack: Stack, reconciler: Reconciling) -> None:
    wanted = [stack.made("ConfigMap", "extra", {"data": {"it": "1"}})]
    reconciler().apply(wanting(wanted))
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "extra", "namespace": stack.namespace},
        "data": {"it": "theirs"},
    }
    forced = ("apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "--filename=-")
    stack.access.kubectl(*forced, given=theirs)
    told = _failure(reconciler, wanted)
    assert "data.it belongs to argocd-controller" in told
    assert stack.access.get(f"--namespace={stack.namespace}", "configmap/extra")["data"] == {"it": "theirs"}


_PODS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "image": ({"image": "registry.invalid/none:1"}, ("registry.invalid/none:1 does not come", "k3s ctr images import")),
    "crash": (
        {"command": ["/bin/sh", "-c", "echo it is broken; exit 3"]},
        ("ended again and again, with exit status 3", ": it is broken"),
    ),
    "memory": (
        {
            "command": ["/bin/sh", "-c", "x=a; while :; do x=$x$x; done"],
            "resources": {"requests": {"memory": "8Mi"}, "limits": {"memory": "8Mi"}},
        },
        ("for want of memory (its limit is 8Mi)",),
    ),
    "room": ({"resources": {"requests": {"memory": "900Gi"}, "limits": {"memory": "900Gi"}}}, ("no node takes it",)),
}


@pytest.mark.parametrize("why", _PODS)
def test_what_can_not_become_well_fails_at_once_with_the_reason(
    stack: Stack, reconciler: Reconciling, why: str
) -> None:
    changes, sentences = _PODS[why]
    begun = time.monotonic()
    told = _failure(reconciler, [stack.service("Deployment", "outer", **changes)])
    for sentence in sentences:
        assert sentence in told
    assert time.monotonic() - begun < 120


def test_a_right_that_lacks_is_told_with_the_line_of_its_role(
    stack: Stack, reconciler: Reconciling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
    ]
    access = stack.access.limited("less", stack.namespace, rules, tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(access.kubeconfig))
    told = _failure(reconciler, [stack.made("ConfigMap", "extra", {"data": {"it": "1"}})])
    assert '- {apiGroups: [""], resources: ["configmaps"], verbs: ["patch"]}' in told


@pytest.mark.promise(7)
def test_the_role_that_render_writes_is_enough(
    stack: Stack, reconciler: Reconciling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (role,) = parse(files(QUICKSTART)["examples/role.yaml"])
    access = stack.access.limited("enough", stack.namespace, role["rules"], tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(access.kubeconfig))
    reconciler().apply(wanting(stack.resources()))
    driver = stack.driver()
    assert list(driver.logs(stack.scope, "outer", tail=1, follow=False)) == ["hello"]
    reconciler().destroy(Options(delete_data=frozenset({"volume/door"})))
    assert stack.leftovers() == []


def test_one_that_is_broken_makes_way_for_the_one_that_mends_it(stack: Stack, reconciler: Reconciling) -> None:
    broken = stack.service("StatefulSet", "inner", command=["/bin/sh", "-c", "exit 1"])
    with pytest.raises(PartlyApplied):
        reconciler().apply(wanting([broken]))
    reconciler().apply(wanting([stack.service("StatefulSet", "inner")]))
    assert reconciler().status().ready


@pytest.mark.promise(7)
def test_a_namespace_is_made_with_the_lock_and_goes_when_nothing_is_left_in_it(stack: Stack) -> None:
    own = Scope(f"{stack.agent}-own", "here")
    driver, other = KubernetesDriver(Connection()), KubernetesDriver(Connection())
    stack.opened += [driver, other]
    with driver.hold_lock(own, _ME):
        marks = stack.access.get("namespace", own.agent)["metadata"]["labels"]
        assert marks["pod-security.kubernetes.io/enforce"] == "restricted"
        with pytest.raises(LockHeld, match="alice on desk"), other.hold_lock(own, _ME):
            pass
    assert not stack.access.kubectl("get", "namespace", own.agent, "--ignore-not-found")
