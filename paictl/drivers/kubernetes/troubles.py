"""What went wrong with the API server, as a person is told: a sentence and what to do next. Called by ``connection``; pure."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paictl.errors import PaictlError, Refused, Unreachable

__all__ = ["ApiError", "Conflict", "declined", "left_to", "unreachable"]

_FORBIDDEN = re.compile(
    r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"(?: in API group "(?P<group>[^"]*)")?'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
_CONFLICT = re.compile(r'conflict with "(?P<manager>(?:[^"\\]|\\.)*)"(?P<rest>.*)')
_HELPS = (
    (
        "violates podsecurity",
        "This is a bug in paictl's templates, or something changes its pods on the way; please look.",
    ),
    ("exceeded quota", "Ask for a larger quota in that namespace, or give the agent smaller limits."),
    ("being terminated", "Its namespace is being removed: wait for its end, then apply again."),
    ("no space left", "The cluster's own storage is full."),
    (
        "must support resize",
        "Its StorageClass can't make a volume larger: have an administrator set allowVolumeExpansion there.",
    ),
    ("can not be less than", "No volume gets smaller: ask for the size that it has."),
    ("only bound claims", "Its volume is made with the first pod that uses it: only then it can be made larger."),
    (
        "not declared in schema",
        "This cluster does not know that field: the document says it wrongly, or the cluster is too old.",
    ),
    ("storageclass", "Have an administrator set a default StorageClass: volumes are made from it."),
)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field that another manager holds. ``updated``: by a change, as people and controllers make it, not by an apply."""

    field: str
    manager: str
    updated: bool
    subresource: str = ""


@dataclass(eq=False)
class ApiError(PaictlError):
    """The API server's own no, with its HTTP status and its reason in one word."""

    status: int = 0
    reason: str = ""
    conflicts: tuple[Conflict, ...] = field(default=())
    after: float = 0.0


def declined(status: int, content: bytes, what: str, headers: Mapping[str, str]) -> PaictlError:
    """The error that it answered with; ``what`` was tried, in the words of "while …"."""
    said = _status(content)
    message = " ".join(str(said.get("message") or content[:300].decode("utf-8", "replace") or "no reason").split())
    details = said.get("details") or {}
    if status == 401:
        return Unreachable(
            f"the cluster does not accept these credentials (while {what}): {message}",
            help="They may have expired: log in again with the cluster's own tool, or look at `kubectl auth whoami`.",
        )
    conflicts = tuple(
        _conflict(str(one.get("field", "")), str(one.get("message", "")))
        for one in details.get("causes") or ()
        if one.get("reason") == "FieldManagerConflict"
    )
    if conflicts:
        message = _belongs((one.field, one.manager) for one in conflicts)
    return ApiError(
        f"the cluster refused while {what}: {message}",
        help=_help(status, message, conflicts),
        status=status,
        reason=str(said.get("reason", "")),
        conflicts=conflicts,
        after=_after(headers, details),
    )


def left_to(what: str, fields: Sequence[tuple[str, str]]) -> Refused:
    """The error for fields that other managers declare: each with its manager."""
    return Refused(f"refused while {what}: {_belongs(fields)}", help=_let_go(manager for _, manager in fields))


def _belongs(fields: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{field} belongs to {manager}" for field, manager in fields)


def _let_go(managers: Iterable[str]) -> str:
    names = " and ".join(sorted(set(managers)))
    return f"Have {names} let go of it, or leave it out of what paictl declares: nothing is taken by force."


def _status(content: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("kind") == "Status" else {}


def _after(headers: Mapping[str, str], details: Mapping[str, Any]) -> float:
    value = headers.get("Retry-After") or details.get("retryAfterSeconds") or 0
    try:
        return max(0.0, float(value))
    except ValueError:
        return 0.0


def _conflict(path: str, message: str) -> Conflict:
    found = _CONFLICT.search(message)
    manager, rest = (found["manager"], found["rest"]) if found else ("another manager", "")
    subresource = re.search(r'with subresource "([^"]+)"', rest)
    return Conflict(path.lstrip("."), manager, " using " in rest, subresource[1] if subresource else "")


def _help(status: int, message: str, conflicts: tuple[Conflict, ...]) -> str:
    if conflicts:
        return _let_go(one.manager for one in conflicts)
    missing = _FORBIDDEN.search(message) if status == 403 else None
    if missing:
        return f"Its Role needs this line: {role_line(missing['group'] or '', missing['resource'], missing['verb'])}"
    helps = (help_ for sign, help_ in _HELPS if sign in message.lower())
    return next(helps, "Its own logs tell more." if status >= 500 else "")


def role_line(group: str, resource: str, verb: str) -> str:
    """One rule of a Role, as it is written there."""
    return f'- {{apiGroups: ["{group}"], resources: ["{resource}"], verbs: ["{verb}"]}}'


def unreachable(error: BaseException, server: str, context: str) -> Unreachable:
    """That the API server can't be reached, where, and the reason that the system gave."""
    summary = f"the cluster {context} at {server} can't be reached: {_reason(error)}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreachable(
            summary,
            help="Either another machine answers there, or the cluster has new certificates: fetch its kubeconfig anew.",
        )
    return Unreachable(
        summary,
        help="Usually one of three: it is not running, this machine needs a VPN to it, or another context is meant "
        "(`kubectl config get-contexts`, KUBECONFIG, `context` of the target).",
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, socket.gaierror):
        return "its name can't be resolved"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
