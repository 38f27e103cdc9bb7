from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from paictl.blueprint.types import Blueprint
from tests.render.blueprints import EVERYTHING, QUICKSTART
from tests.render.examples import EVERY
from tests.render.kube_findings import CHECKS, findings
from tests.render.reading import objects

Manifest = dict[str, Any]
Documents = dict[str, Manifest]


def read(blueprint: Blueprint) -> Documents:
    """By kind/name; a copy of its own for each who asks."""
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in objects(blueprint)}


@pytest.mark.parametrize("blueprint", EVERY.values(), ids=EVERY)
def test_nothing_critical_is_found(blueprint: Blueprint) -> None:
    assert findings(list(read(blueprint).values())) == []


def _pod(documents: Documents, owner: str = "Deployment/gateway") -> Manifest:
    found: Manifest = documents[owner]["spec"]["template"]["spec"]
    return found


def _main(documents: Documents) -> Manifest:
    found: Manifest = _pod(documents)["containers"][0]
    return found


# Check -> what breaks it, and whom it is to find then.
BROKEN: dict[str, tuple[Callable[[Documents], object], str]] = {
    "container-resources": (lambda all_: _main(all_)["resources"]["limits"].pop("cpu"), "Deployment/gateway: gateway"),
    "container-ephemeral-storage-request-and-limit": (
        lambda all_: _pod(all_)["initContainers"][0]["resources"]["requests"].pop("ephemeral-storage"),
        "Deployment/gateway: connect",
    ),
    "container-image-tag": (
        lambda all_: _main(all_).update(image="registry.example:5000/it:latest"),
        "Deployment/gateway: gateway",
    ),
    "container-image-pull-policy": (lambda all_: _main(all_).pop("imagePullPolicy"), "Deployment/gateway: gateway"),
    "container-security-context-privileged": (
        lambda all_: _main(all_)["securityContext"].update(privileged=True),
        "Deployment/gateway: gateway",
    ),
    "container-security-context-readonlyrootfilesystem": (
        lambda all_: _main(all_)["securityContext"].pop("readOnlyRootFilesystem"),
        "Deployment/gateway: gateway",
    ),
    "container-seccomp-profile": (
        lambda all_: _pod(all_)["securityContext"].update(runAsUser=0),
        "Deployment/gateway",
    ),
    "host": (lambda all_: _main(all_)["ports"][0].update(hostPort=80), "Deployment/gateway"),
    "automount-service-account-token": (
        lambda all_: _pod(all_).pop("automountServiceAccountToken"),
        "Deployment/gateway",
    ),
    "service-account": (
        lambda all_: all_["ServiceAccount/agent"].pop("automountServiceAccountToken"),
        "ServiceAccount/agent",
    ),
    "pod-probes-readiness": (
        lambda all_: _pod(all_, "Deployment/agent")["containers"][0].pop("readinessProbe"),
        "Deployment/agent",
    ),
    "pod-probes-liveness": (lambda all_: _main(all_).pop("livenessProbe"), "Deployment/gateway"),
    "pod-networkpolicy": (lambda all_: all_.pop("NetworkPolicy/fetch-embed"), "Job/fetch-embed"),
    "default-deny": (lambda all_: all_.pop("NetworkPolicy/default-deny"), "NetworkPolicy/default-deny"),
    "deployment-has-poddisruptionbudget": (
        lambda all_: all_["PodDisruptionBudget/agent"]["spec"].update(maxUnavailable=0),
        "Deployment/agent",
    ),
    "deployment-has-host-podantiaffinity": (
        lambda all_: _pod(all_).pop("topologySpreadConstraints"),
        "Deployment/gateway",
    ),
    "deployment-strategy": (lambda all_: _main(all_).pop("lifecycle"), "Deployment/gateway"),
    "deployment-pod-selector-labels-match-template-metadata-labels": (
        lambda all_: all_["Deployment/agent"]["spec"]["selector"]["matchLabels"].update(other="label"),
        "Deployment/agent",
    ),
    "statefulset-has-servicename": (lambda all_: all_.pop("Service/state"), "StatefulSet/state"),
    "service-targets-pod": (
        lambda all_: all_["Service/state"]["spec"]["ports"][0].update(targetPort="sequel"),
        "Service/state",
    ),
    "ingress-targets-service": (lambda all_: all_["Ingress/gateway"]["spec"].pop("tls"), "Ingress/gateway"),
    "horizontalpodautoscaler-has-target": (
        lambda all_: all_["Deployment/gateway"]["spec"].update(replicas=2),
        "HorizontalPodAutoscaler/gateway",
    ),
    "networkpolicy-targets-pod": (
        lambda all_: all_["NetworkPolicy/state"]["spec"]["podSelector"]["matchLabels"].update(other="label"),
        "NetworkPolicy/state",
    ),
    "stable-version": (
        lambda all_: all_["HorizontalPodAutoscaler/gateway"].update(apiVersion="autoscaling/v2beta2"),
        "HorizontalPodAutoscaler/gateway",
    ),
    "label-values": (
        lambda all_: all_["Service/state"]["metadata"]["labels"].update(other="with space"),
        "Service/state",
    ),
    "namespace-is-restricted": (
        lambda all_: all_["Namespace/atlas-everything"]["metadata"]["labels"].pop(
            "pod-security.kubernetes.io/enforce-version"
        ),
        "Namespace/atlas-everything",
    ),
}


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_finds_what_it_is_for(check: str) -> None:
    documents = read(EVERYTHING)
    damage, whom = BROKEN[check]
    damage(documents)
    assert any(one.startswith(f"{check}: {whom}") for one in findings(list(documents.values())))


def test_a_budget_for_one_alone_would_block_drains_and_is_found() -> None:
    documents, several = read(QUICKSTART), read(EVERYTHING)
    budget = json.loads(json.dumps(several["PodDisruptionBudget/gateway"]))
    assert findings([*documents.values(), budget]) == ["deployment-has-poddisruptionbudget: StatefulSet/gateway"]
