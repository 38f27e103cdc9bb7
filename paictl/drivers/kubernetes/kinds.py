"""The kinds of objects that make an agent: where the API server has them, in which words plans name them, what can't be changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CONFIG_MAP", "KINDS", "LEASE", "POD", "SECRET", "Kind", "fixed_in", "kind_of", "namespace_path"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. ``word`` is what an address calls it; ``bare``: its fields are beside the metadata, not below ``spec``.

    ``fixed``: the fields that the API server lets nobody change, so that another object has to take its place. ``added``: one
    that a cluster has only when somebody has added it.
    """

    kind: str
    word: str
    group: str
    plural: str
    fixed: frozenset[str] = frozenset()
    bare: bool = False
    version: str = "v1"
    added: bool = False

    @property
    def api_version(self) -> str:
        """As documents name it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "") -> str:
        """Where it is: all of the namespace, or one of them."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


def _fields(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONFIG_MAP = Kind("ConfigMap", "configmap", "", "configmaps", bare=True)
SECRET = Kind("Secret", "secret", "", "secrets", _fields("type"), bare=True)
LEASE = Kind("Lease", "lease", "coordination.k8s.io", "leases")
POD = Kind("Pod", "pod", "", "pods")

# A service is what runs, as with every driver; Kubernetes' Services are the addresses it is reached at.
KINDS: Mapping[str, Kind] = {
    one.kind: one
    for one in (
        Kind("ServiceAccount", "serviceaccount", "", "serviceaccounts", bare=True),
        CONFIG_MAP,
        SECRET,
        Kind(
            "PersistentVolumeClaim",
            "volume",
            "",
            "persistentvolumeclaims",
            _fields("accessModes storageClassName volumeMode volumeName selector dataSource dataSourceRef"),
        ),
        Kind("NetworkPolicy", "networkpolicy", "networking.k8s.io", "networkpolicies"),
        Kind("Service", "endpoint", "", "services", _fields("clusterIP")),
        Kind("Job", "job", "batch", "jobs", _fields("selector template completions completionMode manualSelector")),
        Kind("CronJob", "cronjob", "batch", "cronjobs"),
        Kind("Deployment", "service", "apps", "deployments", _fields("selector")),
        Kind(
            "StatefulSet",
            "service",
            "apps",
            "statefulsets",
            _fields("selector serviceName podManagementPolicy volumeClaimTemplates"),
        ),
        Kind("PodDisruptionBudget", "poddisruptionbudget", "policy", "poddisruptionbudgets"),
        Kind("HorizontalPodAutoscaler", "autoscaler", "autoscaling", "horizontalpodautoscalers", version="v2"),
        Kind("Ingress", "ingress", "networking.k8s.io", "ingresses"),
        Kind("HTTPRoute", "route", "gateway.networking.k8s.io", "httproutes", added=True),
        Kind("ExternalSecret", "externalsecret", "external-secrets.io", "externalsecrets", added=True),
    )
}
"""By their own name."""


def kind_of(spec: Mapping[str, object]) -> Kind:
    """The kind of a resource, by its spec; raises ``KeyError`` for one that a newer paictl made."""
    return KINDS[str(spec["kind"])]


def fixed_in(document: Mapping[str, object]) -> frozenset[str]:
    """The fields of this document that nobody can change once it stands; the kind itself is one, where two share a word."""
    known = KINDS[str(document["kind"])].fixed | {"kind"}
    return known | {"immutable", "data", "binaryData"} if document.get("immutable") else known


def namespace_path(name: str) -> str:
    """Where a namespace itself is."""
    return f"/api/v1/namespaces/{name}"
