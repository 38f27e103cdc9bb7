"""What can be known to fail before anything changes: every document is tried on the API server, all at once. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from paictl.drivers.kubernetes.applying import apply, marked
from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.kinds import namespace_path
from paictl.drivers.kubernetes.openings import refusal
from paictl.drivers.kubernetes.troubles import ApiError
from paictl.drivers.kubernetes.versions import too_old
from paictl.engine.driver import Scope
from paictl.engine.model import Address, Observation, Observed, Resource
from paictl.errors import PaictlError, Refused

__all__ = ["check"]

_AT_ONCE = 8
# The rest of the shortest length that any kind's names may have, a CronJob's.
_NAME = 48


def check(
    connection: Connection, scope: Scope, namespace: str, resources: Iterable[Resource], observation: Observation
) -> None:
    """Raise ``Refused`` with everything that the API server would not take, ``Unavailable`` for one that is too old."""
    old = too_old(connection)
    if old is not None:
        raise old
    if _is_new(connection, namespace):
        # Nothing can be tried in a namespace that is not there; it is made first, and then the first refusal ends the run.
        return
    standing = {one.address: one for one in observation.resources if one.owner == "mine"}
    opened = refusal(scope, standing.values())
    if opened is not None:
        raise opened

    def tried(resource: Resource) -> PaictlError | None:
        document = marked(resource, scope, namespace, "")
        return _tried(connection, resource, document, beside=_replaced(resource, standing))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        noes = [no for no in pool.map(tried, (one for one in resources if one.address.kind != "secret")) if no]
    if noes:
        helps = list(dict.fromkeys(no.help for no in noes if no.help))
        raise Refused("\n".join(dict.fromkeys(no.summary for no in noes)), help="\n".join(helps))


def _is_new(connection: Connection, namespace: str) -> bool:
    try:
        return connection.find(namespace_path(namespace), "looking at the namespace") is None
    except ApiError:
        # Who may not look at it has been given it.
        return False


def _replaced(resource: Resource, standing: Mapping[Address, Observed]) -> bool:
    """Whether another one takes its place, since what differs can't be changed."""
    there = standing.get(resource.address)
    return there is not None and any(
        there.spec.get(key) != resource.spec.get(key) for key in resource.replace_on if key in there.spec
    )


def _tried(connection: Connection, resource: Resource, document: Json, *, beside: bool) -> PaictlError | None:
    """Why it would not be taken. ``beside``: what takes another's place is tried under a name of its own, as if that had gone."""
    if beside:
        name = f"{document['metadata']['name'][:_NAME]}-try"
        document = {**document, "metadata": {**document["metadata"], "name": name}}
    try:
        apply(connection, document, f"trying {resource.address}", dry=True)
    except (ApiError, Refused) as no:
        # The one that goes leaves its part of the quota.
        return None if beside and "exceeded quota" in no.summary else no
    return None
