"""The cluster's part of the blueprint: what the manifest says of it, as plain values with every default filled in. Pure."""

from __future__ import annotations

from dataclasses import replace

from paictl.blueprint.places import Cards, Cluster, Door, SecretStore, Toleration
from paictl.manifest.load import Manifest
from paictl.manifest.placement import Cluster as Said
from paictl.manifest.quantities import parse_duration

__all__ = ["cluster", "kept_secrets", "names", "remote_secrets"]


def cluster(manifest: Manifest) -> Cluster:
    """What the target's cluster offers; what all have in common for a target that is none."""
    said = manifest.target_spec.cluster
    if said is None:
        return Cluster()
    found = Cluster(
        ingress=_door(said),
        node_selector=said.node_selector,
        tolerations=tuple(
            Toleration(one.key or "", one.operator, one.value or "", one.effect or "") for one in said.tolerations
        ),
        cards=_cards(said),
        storage_class=said.storage_class or "",
        shared_storage_class=said.shared_storage_class or "",
        secret_store=_store(said),
        pull_secrets=tuple(said.pull_secrets),
        registry=(said.registry or "").rstrip("/"),
        priority_class=said.priority_class or "",
    )
    spread = [said.spread] if isinstance(said.spread, str) else said.spread
    return found if spread is None else replace(found, spread=tuple(spread))


def names(manifest: Manifest) -> list[str]:
    """The names that lead to the gateway from outside."""
    said, vpn = manifest.target_spec.cluster, manifest.target_spec.vpn
    found = [said.ingress.host if said and said.ingress else None, vpn.host if vpn else None]
    return [name for name in found if name]


def remote_secrets(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """The declared secrets that somebody else brings, each with its entry and property there."""
    said = manifest.target_spec.cluster
    if said is None or said.external_secrets is None:
        return {}
    keys = said.external_secrets.keys
    return {
        name: (keys[name].key, keys[name].property or "") if name in keys else (name, "")
        for name in manifest.agent.spec.secrets
    }


def kept_secrets(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """The declared secrets that are in the cluster already, each with its Secret and the key in it."""
    if manifest.target_spec.driver != "kubernetes":
        return {}
    declared, remote = manifest.agent.spec.secrets, remote_secrets(manifest)
    return {
        name: (secret.name or name, secret.key or "value")
        for name, secret in declared.items()
        if secret.from_ == "kubernetes" and name not in remote
    }


def _door(said: Said) -> Door | None:
    asked = said.ingress
    if asked is None:
        return None
    return Door(
        kind=asked.kind,
        host=asked.host or "",
        tls=asked.tls or "",
        class_name=asked.class_ or "",
        gateway=asked.gateway or "",
        namespace=asked.namespace or "",
        pods=asked.pods,
        blocks=tuple(asked.blocks),
        annotations=asked.annotations,
    )


def _cards(said: Said) -> Cards:
    asked = said.gpu
    if asked is None:
        return Cards()
    return Cards(asked.resource, asked.count, asked.runtime_class or "", asked.node_selector)


def _store(said: Said) -> SecretStore | None:
    asked = said.external_secrets
    if asked is None:
        return None
    # The operator's durations are Go's, which know no days.
    return SecretStore(asked.store, asked.kind, f"{parse_duration(asked.refresh)}s")
