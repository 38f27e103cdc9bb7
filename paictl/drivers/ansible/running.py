"""Runs plays on the hosts of a target, and tells what came of them, host by host. Called by whatever acts on hosts or looks at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paictl.drivers.ansible.hearing import Heard, HostRun
from paictl.drivers.ansible.hosts import Hosts
from paictl.drivers.ansible.playbook import play
from paictl.drivers.ansible.playroom import furnish, playroom
from paictl.drivers.ansible.shell import Shell
from paictl.drivers.ansible.troubles import task_failed, wants_password
from paictl.errors import PaictlError
from paictl.events import Emit, ignore

__all__ = ["run"]


def run(  # noqa: PLR0913 - each is one word of a run, and named where it is given
    hosts: Hosts,
    plays: Sequence[Mapping[str, Any]],
    *,
    only: Sequence[str] = (),
    files: Mapping[str, str | bytes | Path] | None = None,
    check: bool = False,
    diff: bool = False,
    emit: Emit = ignore,
) -> Mapping[str, HostRun]:
    """One run of Ansible over all hosts, or ``only`` some: each host's own outcome, whatever became of the others.

    ``files``: path in the project's directory -> content; a ``Path`` is linked to. Raises ``PaictlError`` when Ansible itself
    could do nothing with the plays. Where sudo asked for a password that we come to know then, those hosts have a second run.
    """
    told = _Asked(hosts, plays, files or {}, check, diff, emit)
    found = _run(told, tuple(only) or tuple(hosts.logins))
    asking = tuple(name for name, one in found.items() if _asks(hosts, name, one))
    return {**found, **_run(told, asking)} if asking else found


@dataclass(frozen=True)
class _Asked:
    """What a caller wants to be done, but for the hosts."""

    hosts: Hosts
    plays: Sequence[Mapping[str, Any]]
    files: Mapping[str, str | bytes | Path]
    check: bool
    diff: bool
    emit: Emit


def _asks(hosts: Hosts, name: str, found: HostRun) -> bool:
    """Whether sudo wanted a password there that was not known before, and is now."""
    refused = any(wants_password(result) for result in found.results.values())
    return refused and hosts.passwords(name, "become") is None and hosts.passwords(name, "asked") is not None


def _run(asked: _Asked, names: Sequence[str]) -> dict[str, HostRun]:
    if not names:
        return {}
    heard = Heard({name: asked.hosts.logins[name] for name in names}, asked.emit)
    with playroom() as room:
        furnish(room, asked.hosts, names, asked.plays, asked.files)
        code = play(room, heard, check=asked.check, diff=asked.diff)
        if not heard.stats:
            raise _broken(heard, code)
    found = heard.outcomes()
    return found | {name: _explained(asked.hosts, name, found[name]) for name in heard.silent}


def _explained(hosts: Hosts, name: str, found: HostRun) -> HostRun:
    """With what sudo says when it is asked by hand, where it refused a task and its words were lost."""
    if found.ok:
        return found
    try:
        Shell(hosts, name).run(["true"])
    except PaictlError as error:
        trouble = task_failed(hosts.logins[name], "sudo", {"msg": error.summary})
        return replace(found, failed=trouble.summary, help=trouble.help or error.help)
    return found


def _broken(heard: Heard, code: int) -> PaictlError:
    """Ansible ended without having said what became of the hosts."""
    said = " ".join(" ".join(heard.words).split())
    return PaictlError(
        f"ansible-playbook ended with {code}: {said[-1500:] or 'it said nothing'}",
        help="This is a fault of paictl's plays or of the installation: `paictl doctor`, then please report it.",
    )
