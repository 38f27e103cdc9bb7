"""The secrets' part of the blueprint: which secret files the services need. Values never pass through here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from paictl.blueprint import clusters, periodic, vpn
from paictl.blueprint.types import SecretFile, Service
from paictl.manifest.load import Manifest

__all__ = ["secret_files"]


def secret_files(
    manifest: Manifest, services: Iterable[Service], fingerprints: Mapping[str, str]
) -> tuple[SecretFile, ...]:
    """Every secret that a service needs, once: those declared in the manifest, and those paictl generates.

    One that no service reads is for what leads to the gateway on its host.
    """
    declared, remotes = manifest.agent.spec.secrets, clusters.remote_secrets(manifest)
    kept = clusters.kept_secrets(manifest)
    return tuple(
        SecretFile(
            name=name,
            path=f"secrets/{name}",
            generated=name not in declared,
            fingerprint=fingerprints.get(name, ""),
            remote=remotes.get(name, ("", "")),
            kept=kept.get(name, ("", "")),
            origin=manifest.origins.find(("spec", "secrets", name)) if name in declared else None,
        )
        for name in sorted(
            {name for service in services for name in service.secrets}
            | ({vpn.KEY} if vpn.tunnelled(manifest) else set())
            | _of_updates(manifest)
        )
    )


def _of_updates(manifest: Manifest) -> set[str]:
    """The key of the repository that is followed, which no service reads."""
    wanted = manifest.agent.spec.updates
    return {wanted.key} if wanted and wanted.key and periodic.follows(manifest) else set()
