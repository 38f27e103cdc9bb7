"""Fields that others set in what is ours, and what others put beside it: told in the plan, and mended where it is ours to mend."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paictl.drivers.kubernetes import preflight
from paictl.engine.model import Plan, Resource
from paictl.errors import PartlyApplied, Refused
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

_TO_ALL: dict[str, Any] = {"from": [{"podSelector": {}}]}


def _causes(plan: Plan) -> dict[str, str]:
    return {str(step.address): step.cause for step in plan.steps}


def _patch(stack: Stack, what: str, patch: object, sort: str = "strategic") -> None:
    stack.access.kubectl(
        f"--namespace={stack.namespace}", "patch", what, f"--type={sort}", f"--patch={json.dumps(patch)}"
    )


def _policy(stack: Stack, name: str, **rules: Any) -> Resource:
    marks = {"app.kubernetes.io/instance": stack.agent, "app.kubernetes.io/component": name}
    spec = {"podSelector": {"matchLabels": marks}, "policyTypes": ["Ingress", "Egress"], **rules}
    return stack.made("NetworkPolicy", name, {"spec": spec})


@pytest.mark.promise(2, 22)
def test_what_was_added_by_hand_within_what_is_declared_is_told_and_taken_back(
    stack: Stack, reconciler: Reconciling
) -> None:
    ports = [{"name": "http", "containerPort": 8080}]
    wanted = [
        stack.made("ConfigMap", "extra", {"data": {"it": "1"}}),
        stack.service("Deployment", "outer", ports=ports),
        _policy(stack, "outer"),
    ]
    reconciler().apply(wanting(wanted))
    container = {
        "name": "outer",
        "env": [{"name": "LD_PRELOAD", "value": "/tmp/it.so"}],
        "ports": [{"containerPort": 22}],
    }
    pod = {"metadata": {"labels": {"open": "wide"}}, "spec": {"containers": [container]}}
    _patch(stack, "deployment/outer", {"spec": {"template": pod}})
    _patch(stack, "configmap/extra", {"data": {"more": "2"}})
    _patch(stack, "networkpolicy/outer", {"spec": {"ingress": [{}]}}, "merge")
    assert _causes(reconciler().plan(wanting(wanted))) == {
        "configmap/extra": "data.more was changed by hand",
        "networkpolicy/outer": "ingress was changed by hand",
        "service/outer": "template.metadata.labels.open, template.spec.containers[outer].env[LD_PRELOAD], "
        "template.spec.containers[outer].ports[22] was changed by hand",
    }
    reconciler().apply(wanting(wanted))
    assert reconciler().plan(wanting(wanted)).empty
    here = f"--namespace={stack.namespace}"
    assert "ingress" not in stack.access.get(here, "networkpolicy/outer")["spec"]
    assert stack.access.get(here, "configmap/extra")["data"] == {"it": "1"}
    (after,) = stack.access.get(here, "deployment/outer")["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in after["env"]] == ["SAY"]
    assert [one["containerPort"] for one in after["ports"]] == [8080]


@pytest.mark.promise(2)
def test_what_clusters_and_people_write_beside_what_is_declared_is_no_change(
    stack: Stack, reconciler: Reconciling
) -> None:
    wanted = [*stack.resources()]
    reconciler().apply(wanting(wanted))
    here = f"--namespace={stack.namespace}"
    for what in ("deployment/outer", "persistentvolumeclaim/door", "configmap/extra"):
        stack.access.kubectl(here, "label", what, "team=blue")
        stack.access.kubectl(here, "annotate", what, "backup.example/plan=daily")
    stack.access.kubectl(here, "rollout", "restart", "deployment/outer")
    stack.access.kubectl(here, "rollout", "status", "deployment/outer", "--timeout=60s")
    assert _causes(reconciler().plan(wanting(wanted))) == {}


@pytest.mark.promise(13)
def test_what_another_tool_declares_within_what_is_ours_is_told_with_its_name(
    stack: Stack, reconciler: Reconciling
) -> None:
    wanted = [stack.made("ConfigMap", "extra", {"data": {"it": "1"}})]
    reconciler().apply(wanting(wanted))
    where = {"name": "extra", "namespace": stack.namespace}
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": where, "data": {"theirs": "2"}}
    stack.access.kubectl("apply", "--server-side", "--field-manager=argocd-controller", "--filename=-", given=theirs)
    assert _causes(reconciler().plan(wanting(wanted))) == {"configmap/extra": "data.theirs was changed by hand"}
    with pytest.raises(PartlyApplied, match=r"data.theirs belongs to argocd-controller. Have argocd-controller let go"):
        reconciler().apply(wanting(wanted))
    stands = stack.access.get(f"--namespace={stack.namespace}", "configmap/extra")
    assert stands["data"] == {"it": "1", "theirs": "2"}


@pytest.mark.promise(13)
def test_an_autoscaler_of_others_keeps_its_number_and_is_named(stack: Stack, reconciler: Reconciling) -> None:
    wanted = [stack.service("Deployment", "outer")]
    reconciler().apply(wanting(wanted))
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "outer"}
    stack.access.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "theirs", "namespace": stack.namespace},
            "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3},
        }
    )
    stack.access.kubectl(
        f"--namespace={stack.namespace}", "wait", "deployment/outer", "--for=jsonpath={.spec.replicas}=2"
    )
    with pytest.raises(PartlyApplied, match="replicas belongs to the HorizontalPodAutoscaler theirs"):
        reconciler().apply(wanting(wanted))
    assert stack.access.get(f"--namespace={stack.namespace}", "deployment/outer")["spec"]["replicas"] == 2


@pytest.mark.promise(22)
def test_a_policy_of_others_that_opens_our_pods_is_told_and_stays_theirs(stack: Stack, reconciler: Reconciling) -> None:
    wanted = [_policy(stack, "outer"), stack.service("Deployment", "outer")]
    reconciler().apply(wanting(wanted))
    where = {"namespace": stack.namespace}
    theirs = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    everyone = {"podSelector": {}, "policyTypes": ["Ingress"]}
    named = {"matchExpressions": [{"key": "app.kubernetes.io/component", "operator": "NotIn", "values": ["outer"]}]}
    stack.access.apply(
        {**theirs, "metadata": {"name": "opens", **where}, "spec": {**everyone, "ingress": [_TO_ALL]}},
        {**theirs, "metadata": {"name": "closes", **where}, "spec": everyone},
        {
            **theirs,
            "metadata": {"name": "others", **where},
            "spec": {**everyone, "podSelector": named, "ingress": [{}]},
        },
    )
    assert _causes(reconciler().plan(wanting(wanted))) == {"networkpolicy/outer": "opened was changed by hand"}
    told = "the NetworkPolicy opens, which is not paictl's, opens the pods of outer"
    driver = stack.driver()
    with pytest.raises(Refused, match=told):
        preflight.check(driver.connection, stack.scope, stack.namespace, wanted, driver.observe(stack.scope))
    with pytest.raises(PartlyApplied, match=told) as failed:
        reconciler().apply(wanting(wanted))
    assert f"kubectl annotate networkpolicy opens paictl/agreed={stack.agent}" in f"{failed.value}"
    here = f"--namespace={stack.namespace}"
    stack.access.kubectl(here, "annotate", "networkpolicy/opens", f"paictl/agreed={stack.agent}")
    reconciler().apply(wanting(wanted))
    assert reconciler().plan(wanting(wanted)).empty


@pytest.mark.promise(22)
def test_rights_that_somebody_gives_an_account_of_ours_are_told(stack: Stack, reconciler: Reconciling) -> None:
    wanted = [stack.made("ServiceAccount", "outer", {"automountServiceAccountToken": False})]
    reconciler().apply(wanting(wanted))
    here = f"--namespace={stack.namespace}"
    for name, account in (("gives", "outer"), ("others", "default")):
        given = f"--serviceaccount={stack.namespace}:{account}"
        stack.access.kubectl(here, "create", "rolebinding", name, "--clusterrole=view", given)
    assert _causes(reconciler().plan(wanting(wanted))) == {"serviceaccount/outer": "granted was changed by hand"}
    with pytest.raises(PartlyApplied, match="the RoleBinding gives gives rights to the account outer"):
        reconciler().apply(wanting(wanted))
    stack.access.kubectl(here, "delete", "rolebinding/gives")
    reconciler().apply(wanting(wanted))
    assert reconciler().plan(wanting(wanted)).empty
