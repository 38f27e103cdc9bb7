"""The words in which a plan gives its reasons; each completes a sentence that begins with "because". Called by the planner."""

from __future__ import annotations

from paictl.engine.differ import Difference
from paictl.engine.model import Resource

__all__ = [
    "ABSENT",
    "DESTROYED",
    "GONE",
    "IN_PLACE",
    "NOT_RUN",
    "NOT_RUNNING",
    "RUN_ANEW",
    "STARTING",
    "SUCCEEDED",
    "SURPLUS",
    "UNDONE",
    "UNFINISHED",
    "UNWANTED",
    "at",
    "changed",
]

ABSENT = "it does not exist"
GONE = "it was there and is gone"
NOT_RUN = "it has not run yet"
RUN_ANEW = "what it runs has changed"
UNDONE = "its last run did not succeed"
NOT_RUNNING = "it is not running"
STARTING = "it has not become healthy yet"
UNFINISHED = "an interrupted run left it unfinished"
UNWANTED = "nothing asks for it any more"
DESTROYED = "everything is being destroyed"
SUCCEEDED = "its successor has taken over"
SURPLUS = "it is one more than is asked for"
IN_PLACE = ", which can't be done in place"

_NAMED = 3


def changed(difference: Difference) -> str:
    """Which fields changed: the first three by name."""
    paths = [change.path for change in difference.changes]
    if paths == ["fingerprint"]:
        return "its settings differ from what was applied"
    named = ", ".join(paths[:_NAMED])
    if len(paths) > _NAMED:
        named += f" and {len(paths) - _NAMED} more"
    return f"{named} was changed by hand" if difference.by_hand else f"{named} changed"


def at(cause: str, resource: Resource) -> str:
    """The cause with the line of the manifest that asks for the resource."""
    return cause if resource.origin is None else f"{cause} ({resource.origin.file}:{resource.origin.line})"
