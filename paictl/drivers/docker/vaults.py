"""The tmpfs volumes in which services find their secrets: what they are called and how they are mounted. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from paictl.render.containers import UID, digest

__all__ = ["is_vault", "vault_options", "vault_volume"]

_PREFIX = "secrets-"


def vault_volume(service: str, user: str) -> str:
    """The volume with the secrets of one service, which runs as ``user`` (UID:GID).

    Named by its options: they can't be changed while anybody holds it mounted, and it must never be let go of by all. So
    another set of options is another volume, which takes its place container by container.
    """
    return f"{_PREFIX}{service}-{digest(json.dumps(vault_options(user), sort_keys=True))}"


def vault_options(user: str) -> Mapping[str, str]:
    """How the engine mounts it."""
    # Set-group-id: what the keeper writes belongs to the service's group, for which it needs no capability.
    options = f"size=1m,mode=2750,uid={UID},gid={user.rpartition(':')[2]}"
    return {"type": "tmpfs", "device": "tmpfs", "o": options}


def is_vault(volume: str) -> bool:
    """Whether a volume of an agent's, by its short name, is one of these."""
    return volume.startswith(_PREFIX)
