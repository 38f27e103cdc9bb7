"""What kube-score's critical checks and polaris' dangers find wanting in documents, by their names where they have one.

Called by the tests of the Kubernetes files. Sources: https://github.com/zegl/kube-score/blob/master/README_CHECKS.md and
https://polaris.docs.fairwinds.com/checks/. Two of kube-score's are left out on purpose. Images are named by their content, so
that pulling them always would only keep clusters from running what was brought to their nodes; and the users of Postgres, n8n
and Temporal are below 10000 because their images know them by no other number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = ["CHECKS", "findings"]

Document = Mapping[str, Any]

_LONG_RUNNING = ("Deployment", "StatefulSet")
_STABLE = re.compile(r"^([a-z.0-9-]+/)?v[0-9]+$")
_ALLOWED_VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "projected"}


@dataclass(frozen=True)
class _World:
    """All documents of one agent."""

    documents: tuple[Document, ...]

    def of(self, *kinds: str) -> Iterator[Document]:
        return (one for one in self.documents if one["kind"] in kinds)

    @cached_property
    def pods(self) -> list[_Pod]:
        return [_Pod(one, one["spec"]["template"]) for one in self.of(*_LONG_RUNNING, "Job")]

    @property
    def serving(self) -> Iterator[_Pod]:
        return (one for one in self.pods if one.owner["kind"] in _LONG_RUNNING)

    def scaler(self, pod: _Pod) -> Document | None:
        target = (pod.owner["kind"], pod.name)
        scalers = self.of("HorizontalPodAutoscaler")
        found = ((one["spec"]["scaleTargetRef"]["kind"], one["spec"]["scaleTargetRef"]["name"], one) for one in scalers)
        return next((one for kind, name, one in found if (kind, name) == target), None)

    def most(self, pod: _Pod) -> int:
        scaler = self.scaler(pod)
        return int(scaler["spec"]["maxReplicas"] if scaler else pod.owner["spec"].get("replicas", 1))

    def selecting(self, kind: str, pod: _Pod) -> list[Document]:
        """Those of a kind that choose this pod by its labels, and not all."""
        return [one for one in self.of(kind) if _chosen(one, pod)]


@dataclass(frozen=True)
class _Pod:
    owner: Document
    template: Document

    @property
    def name(self) -> str:
        return str(self.owner["metadata"]["name"])

    @property
    def spec(self) -> Document:
        found: Document = self.template["spec"]
        return found

    @property
    def labels(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.template["metadata"]["labels"]
        return found

    @property
    def main(self) -> Document:
        found: Document = self.spec["containers"][0]
        return found

    @property
    def containers(self) -> list[Document]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def _chosen(document: Document, pod: _Pod) -> bool:
    selector = document["spec"].get("podSelector", document["spec"].get("selector")) or {}
    wanted = selector.get("matchLabels", selector)
    return bool(wanted) and wanted.items() <= pod.labels.items()


def _resources(container: Document, part: str) -> set[str]:
    return set(container.get("resources", {}).get(part, {}))


def _tagged(container: Document) -> bool:
    name, _, digest = container["image"].partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return bool(digest or tag) and tag != "latest"


def _confined(container: Document) -> bool:
    context = container.get("securityContext", {})
    return (
        context.get("allowPrivilegeEscalation") is False
        and context.get("privileged") is not True
        and context.get("runAsNonRoot") is True
        and context.get("capabilities") == {"drop": ["ALL"]}
    )


def _seccomp_and_user(pod: _Pod) -> bool:
    context = pod.spec.get("securityContext", {})
    return (
        context.get("seccompProfile") == {"type": "RuntimeDefault"}
        and context.get("runAsNonRoot") is True
        and min(context.get("runAsUser", 0), context.get("runAsGroup", 0)) > 0
    )


def _nothing_of_the_host(pod: _Pod) -> bool:
    kinds = {key for volume in pod.spec.get("volumes", []) for key in volume if key != "name"}
    ports = [port for one in pod.containers for port in one.get("ports", [])]
    return (
        not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec)
        and kinds <= _ALLOWED_VOLUMES
        and not any("hostPort" in one for one in ports)
    )


def _ready_is_asked(pod: _Pod) -> bool:
    return "readinessProbe" in pod.main


def _life_is_asked(pod: _Pod) -> bool:
    """Whether it lives, the kubelet sees of what listens on nothing."""
    return "ports" not in pod.main or {"livenessProbe", "startupProbe"} <= set(pod.main)


def _policies(world: _World, pod: _Pod) -> bool:
    found = world.selecting("NetworkPolicy", pod)
    return {"Ingress", "Egress"} <= {kind for one in found for kind in one["spec"]["policyTypes"]}


def _denied(world: _World) -> bool:
    everything = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return any(one["spec"] == everything for one in world.of("NetworkPolicy"))


def _budgeted(world: _World, pod: _Pod) -> bool:
    """Several have one that always lets one go; of one alone any would block drains."""
    found = world.selecting("PodDisruptionBudget", pod)
    if world.most(pod) == 1:
        return not found
    return [one["spec"].get("maxUnavailable") for one in found] == [1]


def _spread(world: _World, pod: _Pod) -> bool:
    return world.most(pod) == 1 or bool(pod.spec.get("topologySpreadConstraints") or pod.spec.get("affinity"))


def _targets(world: _World, service: Document) -> bool:
    """A Service leads to pods that have its ports."""
    pods = [one for one in world.pods if _chosen(service, one)]
    wanted = {port["targetPort"] for port in service["spec"].get("ports", [])}
    ports = [{port["name"] for port in one.main.get("ports", [])} for one in pods]
    return bool(pods) and all(wanted <= these for these in ports)


def _led_in(world: _World, ingress: Document) -> bool:
    spec = ingress["spec"]
    services = {
        one["metadata"]["name"]: {port["name"] for port in one["spec"].get("ports", [])} for one in world.of("Service")
    }
    backends = [path["backend"]["service"] for rule in spec["rules"] for path in rule["http"]["paths"]]
    over_tls = {rule["host"] for rule in spec["rules"]} <= {
        host for one in spec.get("tls", []) for host in one["hosts"]
    }
    return over_tls and all(one["port"]["name"] in services.get(one["name"], ()) for one in backends)


def _scaled(world: _World, scaler: Document) -> bool:
    """An autoscaler has somebody to scale, by what that asks for, and nobody else says how many there are."""
    target = next((one for one in world.serving if world.scaler(one) is scaler), None)
    return (
        target is not None and "replicas" not in target.owner["spec"] and "cpu" in _resources(target.main, "requests")
    )


def _replaced_smoothly(pod: _Pod) -> bool:
    if pod.owner["kind"] != "Deployment":
        return True
    update = pod.owner["spec"]["strategy"].get("rollingUpdate", {})
    pause = pod.main.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    in_time = pause < pod.spec["terminationGracePeriodSeconds"]
    return update.get("maxUnavailable") == 0 and in_time and (pause > 0 or "ports" not in pod.main)


def _restricted(namespace: Document) -> bool:
    labels = namespace["metadata"].get("labels", {})
    modes = {f"pod-security.kubernetes.io/{mode}" for mode in ("enforce", "audit", "warn")}
    return all(labels.get(one) == "restricted" and f"{one}-version" in labels for one in modes)


_Told = Iterator[str]


def _where(document: Document) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


def _containers(holds: Callable[[Document], bool]) -> Callable[[_World], _Told]:
    return lambda world: (
        f"{_where(pod.owner)}: {one['name']}" for pod in world.pods for one in pod.containers if not holds(one)
    )


def _pods(holds: Callable[[_World, _Pod], bool], *, serving: bool = False) -> Callable[[_World], _Told]:
    return lambda world: (
        _where(pod.owner) for pod in (world.serving if serving else world.pods) if not holds(world, pod)
    )


def _of(kind: str, holds: Callable[[_World, Document], bool]) -> Callable[[_World], _Told]:
    return lambda world: (_where(one) for one in world.of(kind) if not holds(world, one))


CHECKS: Mapping[str, Callable[[_World], _Told]] = {
    "container-resources": _containers(
        lambda one: all({"cpu", "memory"} <= _resources(one, part) for part in ("requests", "limits"))
    ),
    "container-ephemeral-storage-request-and-limit": _containers(
        lambda one: all("ephemeral-storage" in _resources(one, part) for part in ("requests", "limits"))
    ),
    "container-image-tag": _containers(_tagged),
    "container-image-pull-policy": _containers(lambda one: one.get("imagePullPolicy") in {"Always", "IfNotPresent"}),
    "container-security-context-privileged": _containers(_confined),
    "container-security-context-readonlyrootfilesystem": _containers(
        lambda one: one.get("securityContext", {}).get("readOnlyRootFilesystem") is True
    ),
    "container-seccomp-profile": _pods(lambda _, pod: _seccomp_and_user(pod)),
    "host": _pods(lambda _, pod: _nothing_of_the_host(pod)),
    "automount-service-account-token": _pods(lambda _, pod: pod.spec.get("automountServiceAccountToken") is False),
    "service-account": _of("ServiceAccount", lambda _, one: one.get("automountServiceAccountToken") is False),
    "pod-probes-readiness": _pods(lambda _, pod: _ready_is_asked(pod), serving=True),
    "pod-probes-liveness": _pods(lambda _, pod: _life_is_asked(pod), serving=True),
    "pod-networkpolicy": _pods(_policies),
    "default-deny": lambda world: iter(() if _denied(world) else ("NetworkPolicy/default-deny",)),
    "deployment-has-poddisruptionbudget": _pods(_budgeted, serving=True),
    "deployment-has-host-podantiaffinity": _pods(_spread, serving=True),
    "deployment-strategy": _pods(lambda _, pod: _replaced_smoothly(pod), serving=True),
    "deployment-pod-selector-labels-match-template-metadata-labels": _pods(
        lambda _, pod: _chosen(pod.owner, pod), serving=True
    ),
    "statefulset-has-servicename": _of(
        "StatefulSet",
        lambda world, one: one["spec"]["serviceName"] in {found["metadata"]["name"] for found in world.of("Service")},
    ),
    "service-targets-pod": _of("Service", _targets),
    "ingress-targets-service": _of("Ingress", _led_in),
    "horizontalpodautoscaler-has-target": _of("HorizontalPodAutoscaler", _scaled),
    "networkpolicy-targets-pod": _of(
        "NetworkPolicy",
        lambda world, one: one["spec"]["podSelector"] == {} or any(_chosen(one, pod) for pod in world.pods),
    ),
    "stable-version": lambda world: (_where(one) for one in world.documents if not _STABLE.match(one["apiVersion"])),
    "label-values": lambda world: (
        _where(one)
        for one in world.documents
        if not all(
            re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value)
            for value in one["metadata"].get("labels", {}).values()
        )
    ),
    "namespace-is-restricted": _of("Namespace", lambda _, one: _restricted(one)),
}
"""Name -> whom it finds."""


def findings(documents: list[Document]) -> list[str]:
    """``CHECK: KIND/NAME`` for each that is found wanting."""
    world = _World(tuple(documents))
    return [f"{name}: {whom}" for name, check in CHECKS.items() for whom in check(world)]
