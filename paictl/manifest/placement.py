"""How many of each service run, and what a cluster offers them, as types. ``models.py`` puts them together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from paictl.manifest.quantities import Duration
from paictl.manifest.strict import Name, Strict

__all__ = [
    "DEFAULT_CPU",
    "Cluster",
    "ExternalSecrets",
    "Gpu",
    "Ingress",
    "Remote",
    "Scale",
    "ServiceName",
    "Toleration",
]

# As long as the longest name of a model, with `model-` before it.
ServiceName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,44}[a-z0-9])?$", examples=["gateway"])]

Label = Annotated[str, Field(title="a name of Kubernetes", pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
HostName = Annotated[
    str, Field(title="a host's name", pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$")
]
Block = Annotated[str, Field(title="a block of addresses such as 10.0.0.0/8", pattern=r"^[0-9a-f.:]+/[0-9]{1,3}$")]

DEFAULT_CPU = 80
"""Percent of the requested CPU at which another one is started, where the manifest does not say."""


class Scale(Strict):
    """How many of one service run."""

    replicas: int = Field(default=1, ge=1, le=100, description="How many run; the least, where max is given.")
    max: int | None = Field(
        default=None, ge=1, le=100, description="Up to how many may run when there is much to do; replicas by default."
    )
    cpu: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="With max: at how many percent of the CPU that it asks for another one is started; 80 by default.",
    )


class Ingress(Strict):
    """How people reach the gateway from outside of the cluster: over TLS, by a name of its own. Without it, nobody does."""

    kind: Literal["ingress", "gateway"] = Field(
        default="ingress", description="ingress: an Ingress. gateway: an HTTPRoute of the Gateway API."
    )
    host: HostName | None = Field(default=None, description="The name that people use.", examples=["atlas.example.org"])
    tls: Label | None = Field(
        default=None,
        description="ingress: the Secret with the certificate, made by cert-manager or by you. gateway: the Gateway's listener "
        "that ends TLS.",
        examples=["atlas-tls"],
    )
    class_: Label | None = Field(default=None, alias="class", description="ingress: the class of the controller.")
    gateway: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}$")] | None = Field(
        default=None, description="gateway: the Gateway, as NAMESPACE/NAME.", examples=["infra/public"]
    )
    namespace: Label | None = Field(
        default=None, description="The namespace of the pods that requests come through: the controller's."
    )
    pods: dict[str, str] = Field(
        default_factory=dict,
        description="Labels of these pods; all of the namespace may call the gateway without.",
        examples=[{"app.kubernetes.io/name": "traefik"}],
    )
    blocks: list[Block] = Field(
        default_factory=list,
        description="Addresses that requests come from when a load balancer is outside of the cluster.",
    )
    annotations: dict[str, str] = Field(
        default_factory=dict,
        description="What the controller is to know besides.",
        examples=[{"cert-manager.io/cluster-issuer": "letsencrypt"}],
    )


class Toleration(Strict):
    """A taint of nodes that pods put up with."""

    key: str | None = Field(default=None, description="The taint's key; all of them without.", examples=["dedicated"])
    operator: Literal["Equal", "Exists"] = Field(default="Equal", description="Exists: whatever the taint's value is.")
    value: str | None = Field(default=None, description="The taint's value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="The taint's effect; all of them without."
    )


class Gpu(Strict):
    """How models get graphics cards; of use to models with `gpu`."""

    resource: str = Field(default="nvidia.com/gpu", description="The resource that stands for a card.")
    count: int = Field(default=1, ge=1, le=16, description="How many each server is given.")
    runtime_class: Label | None = Field(
        default=None, description="The RuntimeClass that has the cards, where it is not the nodes' default."
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict,
        description="Labels of nodes with the right cards.",
        examples=[{"nvidia.com/gpu.product": "NVIDIA-L4"}],
    )


class Remote(Strict):
    """Where a secret is in the store."""

    key: str = Field(min_length=1, description="The entry's name there.", examples=["agents/atlas/anthropic"])
    property: str | None = Field(default=None, description="Which property of the entry.")


class ExternalSecrets(Strict):
    """The External Secrets Operator brings what is declared under secrets; paictl then never reads these."""

    store: Label = Field(description="The store's name.", examples=["vault"])
    kind: Literal["ClusterSecretStore", "SecretStore"] = Field(
        default="ClusterSecretStore", description="Whether it is one of the cluster or of the namespace."
    )
    refresh: Duration = Field(default="1h", description="How often values are looked at again.")
    keys: dict[Name, Remote] = Field(
        default_factory=dict,
        description="Where secrets are in the store; under their own names without.",
        examples=[{"anthropic": {"key": "agents/atlas", "property": "anthropic"}}],
    )


class Cluster(Strict):
    """What one cluster offers and wants, beside what all clusters have in common."""

    ingress: Ingress | None = Field(
        default=None,
        description="The way in from outside; without it, only `paictl chat`, `open` and port-forwards lead in.",
        examples=[
            {"kind": "ingress", "class": "nginx", "host": "atlas.example.org", "tls": "atlas-tls", "namespace": "nginx"}
        ],
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels of the nodes to run on.", examples=[{"kubernetes.io/arch": "amd64"}]
    )
    tolerations: list[Toleration] = Field(
        default_factory=list,
        description="Taints of nodes to put up with.",
        examples=[[{"key": "dedicated", "value": "agents", "effect": "NoSchedule"}]],
    )
    gpu: Gpu | None = Field(
        default=None,
        description="How models get graphics cards.",
        examples=[{"resource": "nvidia.com/gpu", "runtime_class": "nvidia"}],
    )
    spread: str | list[str] | None = Field(
        default=None,
        description="Labels of nodes that several of one service are spread over, where possible; hosts and zones by default.",
        examples=["topology.kubernetes.io/zone", ["kubernetes.io/hostname"]],
    )
    storage_class: Label | None = Field(
        default=None, description="The StorageClass of volumes; the cluster's default without."
    )
    shared_storage_class: Label | None = Field(
        default=None,
        description="A StorageClass whose volumes several nodes read at once: for the files of a model that runs more than once. "
        "Without it, all of that model run on one node.",
    )
    external_secrets: ExternalSecrets | None = Field(
        default=None,
        description="Where declared secrets come from instead of from here.",
        examples=[{"store": "vault", "kind": "ClusterSecretStore"}],
    )
    pull_secrets: list[Label] = Field(
        default_factory=list, description="Secrets that open the registries of images.", examples=[["registry"]]
    )
    registry: Annotated[str, Field(pattern=r"^[a-z0-9.:/_-]+$")] | None = Field(
        default=None,
        description="Where the runtime's own image is pushed to and pulled from: a host, or host/path.",
        examples=["registry.example.org/agents"],
    )
    priority_class: Label | None = Field(default=None, description="The PriorityClass of all pods.")
