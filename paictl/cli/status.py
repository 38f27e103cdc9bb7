"""``paictl status``: every service on the target, wanted and found, and where to reach it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from paictl.cli.flags import Call, verb_command

if TYPE_CHECKING:
    from paictl.cli.session import Session
    from paictl.engine.outcome import ResourceStatus, Status

__all__ = ["verb"]

_COLORS = {"running": "green", "done": "green", "starting": "yellow", "kept": "blue"}


@verb_command("status")
def verb(call: Call) -> None:
    """Show every service: its state, its health, since when, where to reach it. Writes nothing."""
    from paictl.cli.session import open_session

    session = open_session(call)
    status = session.reconciler().status()
    call.terminal.result(_document(session, status), lambda: _lines(call, session, status))


def _document(session: Session, status: Status) -> dict[str, object]:
    services = [resource for resource in status.resources if resource.service]
    others = [resource for resource in status.resources if _worth_telling(resource, status)]
    return {
        "format": "1",
        "agent": session.scope.agent,
        "target": session.scope.target,
        "release": status.release,
        "ready": status.ready,
        "url": _url(status),
        "unconfined": session.manifest.target_spec.unconfined,
        "services": [_row_document(resource) for resource in services],
        "others": [_row_document(resource) for resource in others],
        "unfinished": [str(address) for address in status.unfinished],
        "failures": {str(address): reason for address, reason in status.failures.items()},
        "working": status.working or None,
    }


def _row_document(resource: ResourceStatus) -> dict[str, object]:
    return {
        "name": _name(resource),
        "state": resource.state,
        "healthy": resource.health.state == "healthy",
        "since": resource.since or None,
        "address": str(resource.address),
        "url": resource.url or None,
        "detail": resource.health.detail,
    }


def _name(resource: ResourceStatus) -> str:
    """A service by its name; what stands behind services by its address."""
    return resource.address.name if resource.address.kind == "service" else str(resource.address)


def _worth_telling(resource: ResourceStatus, status: Status) -> bool:
    # Of a machine that is away its services tell enough.
    fine = resource.state in {"running", "done", "away"} and resource.address not in status.unfinished
    return not resource.service and not fine


def _url(status: Status) -> str | None:
    return next((resource.url for resource in status.resources if resource.url), None)


def _lines(call: Call, session: Session, status: Status) -> list[str]:
    from paictl.cli.console.table import table

    terminal, scope = call.terminal, session.scope
    where = f"{scope.agent} on {scope.target} ({session.driver.name})"
    if not status.release and not status.resources:
        return [f"{where}: nothing is applied yet. `paictl plan` shows what would be, `paictl apply` does it."]
    word = (
        terminal.style("ready", fg="green", bold=True)
        if status.ready
        else terminal.style("not ready", fg="red", bold=True)
    )
    lines = [f"{where}: {_standing(status, word)}"]
    told = [resource for resource in status.resources if resource.service or _worth_telling(resource, status)]
    rows = [_row(call, resource) for resource in told]
    lines += ["", *table(("SERVICE", "STATE", "SINCE", "ADDRESS"), rows, terminal.width)] if rows else []
    details = _details(status, terminal.width)
    lines += ["", *details] if details else []
    lines += ["", *_notes(session, status)] if _notes(session, status) else []
    return lines


def _details(status: Status, width: int) -> list[str]:
    """What there is to say of each; what several have in common is said once."""
    from paictl.cli.console.table import wrap

    of: dict[str, list[str]] = {}
    for resource in status.resources:
        told = resource.service or resource.state != "away"
        if resource.health.detail and resource.state != "missing" and told:
            of.setdefault(resource.health.detail, []).append(_name(resource))
    lines: list[str] = []
    for detail, names in of.items():
        first, *rest = detail.splitlines()
        lines += wrap(f"{', '.join(names)}: {first}", width, "  ")
        lines += [part for line in rest for part in wrap(line, width, "    ")]
    return lines


def _standing(status: Status, word: str) -> str:
    if status.release:
        return f"{word}, release {status.release}"
    return f"{word}, the first apply is unfinished" if status.begun else "nothing is applied"


def _row(call: Call, resource: ResourceStatus) -> tuple[str, str, str, str]:
    state = call.terminal.style(resource.state, fg=_COLORS.get(resource.state, "red"))
    return _name(resource), state, _ago(resource.since), resource.url


def _notes(session: Session, status: Status) -> list[str]:
    notes: list[str] = []
    if status.working:
        notes.append(f"Somebody is working on it: {status.working}.")
    elif status.unfinished or status.failures or status.begun:
        notes += _unfinished(status)
    elif not status.release:
        notes.append("What holds data was kept: `paictl apply` takes it up again.")
    elif not status.ready:
        notes.append("`paictl apply` mends it; `paictl logs` says why.")
    if session.manifest.target_spec.unconfined:
        span = session.manifest.origins.find(("spec", "targets", session.scope.target, "unconfined"))
        notes.append(f"NOT CONFINED: the agent runs without its sandbox ({span}).")
    return notes


def _unfinished(status: Status) -> list[str]:
    """What became of the last run, where it is not told above already."""
    from paictl.engine.verdict import in_short

    explained = {resource.address for resource in status.resources if resource.health.detail}
    notes = []
    for address in sorted({*status.unfinished, *status.failures}):
        reason = in_short(status.failures.get(address, ""))
        if not reason:
            notes.append(f"The last run was interrupted at {address}.")
        else:
            notes.append(
                f"The last run failed at {address}" + ("." if address in explained else f": {reason.rstrip('.')}.")
            )
    return [*(notes or ["The last run was interrupted."]), "`paictl apply` goes on from there."]


def _ago(since: str) -> str:
    """``5 min``: how long a person says it was."""
    if not since:
        return ""
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{max(0, seconds)} s"
