"""The variables of roles that hosts have for what they do by themselves now and then. Pure; called by ``render.roles``."""

from __future__ import annotations

from collections.abc import Mapping

from paictl.blueprint.periodic import calendar
from paictl.blueprint.types import Blueprint
from paictl.render.layout import HERE, build, host_of, user_of

__all__ = ["PERIODIC", "periodic_hosts", "periodic_unit", "periodic_vars"]

PERIODIC = ("backup", "sync")
"""The roles, in the order in which they run: after all others, whose user and build they use."""

_LATEST_SECONDS = 3600
_LATEST_LOOK_SECONDS = 60
# Exit codes of paictl: failed before any change (the network is away, a secret can't be read).
_CHANGED_NOTHING = (1,)


def periodic_hosts(blueprint: Blueprint, role: str) -> tuple[str, ...]:
    """The names of the hosts that such a role is for, when the manifest wants it at all."""
    if role == "sync":
        return (HERE,) if blueprint.updates else ()
    if role == "backup" and blueprint.backup is None:
        return ()
    # Those that have data of the agent.
    return tuple(dict.fromkeys(host_of(blueprint, one) for one in blueprint.services if one.holds_data))


def periodic_unit(blueprint: Blueprint, role: str) -> str:
    """The unit that does it, whose last result tells how it is."""
    return f"paictl-{blueprint.agent}-{role}.service"


def periodic_vars(blueprint: Blueprint, role: str, host: str) -> Mapping[str, object]:
    """What such a role is told on a host. Raises ``KeyError`` for a role that is none of these."""
    return {"backup": _backup, "sync": _sync}[role](blueprint, host)


def _backup(blueprint: Blueprint, host: str) -> Mapping[str, object]:
    wanted = blueprint.backup
    if wanted is None:
        return {}
    mine = [one for one in blueprint.services if host_of(blueprint, one) == host]
    read = {name for one in mine for name in one.secrets}
    when, apart = calendar(wanted.every)
    return {
        "backup_agent": blueprint.agent,
        "backup_user": user_of(blueprint.agent),
        "backup_code": f"/opt/paictl/runtime/{build(blueprint)}",
        # Services stand in the order in which they start: who asks comes after who answers, and is copied first.
        "backup_folders": [each.path for one in reversed(mine) for each in one.volumes if each.holds_data],
        "backup_secrets": [one.name for one in blueprint.secrets if one.generated and one.name in read],
        "backup_to": wanted.to,
        "backup_recipients": list(wanted.recipients),
        "backup_keep": wanted.keep,
        "backup_calendar": when,
        "backup_delay_seconds": min(apart // 10, _LATEST_SECONDS),
        # The timer comes by a little earlier or later each time.
        "backup_due_seconds": wanted.every - apart // 2,
    }


def _sync(blueprint: Blueprint, _host: str) -> Mapping[str, object]:
    wanted = blueprint.updates
    if wanted is None:
        return {}
    told: dict[str, object] = {
        "sync_agent": blueprint.agent,
        "sync_git": wanted.git,
        "sync_path": wanted.path,
        "sync_apply": list(wanted.apply),
        "sync_again": list(_CHANGED_NOTHING),
        "sync_verify": "none" if wanted.signers is None else "signed-commits",
        "sync_signers": list(wanted.signers or ()),
        "sync_on_failure": "rollback" if wanted.rollback else "stop",
        "sync_every_seconds": wanted.every,
        "sync_delay_seconds": min(wanted.every // 10, _LATEST_LOOK_SECONDS),
    }
    if wanted.key:
        told |= {"sync_secret": wanted.key, "sync_known_hosts": "\n".join(wanted.known_hosts)}
    return told
