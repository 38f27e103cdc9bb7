"""Everything of one agent in a namespace: one list a kind, and a dry run of what reads otherwise than it was applied. Writes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from paictl.drivers.kubernetes import additions, applying, ledger
from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.documents import compared, document_of, spec_of, untouched
from paictl.drivers.kubernetes.health import HEALTHY, job_health, volume_health, workload_health
from paictl.drivers.kubernetes.kinds import KINDS, SECRET, Kind
from paictl.drivers.kubernetes.naming import (
    APPLIED,
    DRIVER,
    FINGERPRINT,
    HOLDS_DATA,
    OURS,
    labels,
    needs_of,
    owner_of,
)
from paictl.drivers.kubernetes.openings import openings
from paictl.drivers.kubernetes.secrets import spec_of_secret
from paictl.drivers.kubernetes.troubles import ApiError
from paictl.engine.driver import Scope
from paictl.engine.model import Address, Health, Observed

__all__ = ["look"]

# Each has a connection of its own; more of them would wait for each other here, and for the API server there.
_AT_ONCE = 4
_PAGE = 500
# Of secrets only who they are: their values never leave the cluster for a look.
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
# What every namespace has without anybody's asking.
_GIVEN = frozenset({"configmap/kube-root-ca.crt", "serviceaccount/default", "endpoint/kubernetes"})
_READ = tuple(KINDS.values())


def look(connection: Connection, scope: Scope, namespace: str) -> list[Observed]:
    """Every resource, and what stands in the way of one. Raises what the connection raises when a part can't be read."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        bindings = pool.submit(_bindings, connection, namespace)
        listed = pool.map(lambda kind: (kind, _there(connection, kind, namespace)), _READ)
        found = [
            _Found(connection, scope, namespace, kind, one)
            for kind, several in listed
            for one in several
            if _counts(scope, kind, one)
        ]
        opened = openings(scope, (one.live for one in found), bindings.result())
        told = (replace(one, opened=opened.get((one.kind.kind, one.address.name), {})) for one in found)
        return list(pool.map(_Found.observed, told))


def _bindings(connection: Connection, namespace: str) -> list[Any]:
    """Who gives rights to whom in the namespace; nothing for who may not see that."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
    try:
        found: list[Any] = connection.ask(path, "reading rolebindings")["items"]
    except ApiError as no:
        if no.status != HTTPStatus.FORBIDDEN:
            raise
        return []
    return found


def _there(connection: Connection, kind: Kind, namespace: str) -> list[Any]:
    """All of a kind; none of one that this cluster has not got."""
    try:
        return _listed(connection, kind, namespace)
    except ApiError as no:
        if kind.added and no.status == HTTPStatus.NOT_FOUND:
            return []
        raise


def _listed(connection: Connection, kind: Kind, namespace: str) -> list[Any]:
    accept = _METADATA if kind is SECRET else "application/json"
    found: list[Any] = []
    more = ""
    while True:
        query: dict[str, Any] = {"limit": _PAGE, **({"continue": more} if more else {})}
        page = connection.ask(kind.path(namespace), f"reading {kind.plural}", accept=accept, **query)
        found += page["items"] or []
        more = (page.get("metadata") or {}).get("continue") or ""
        if not more:
            # Entries of a list do not say what they are.
            return [{**one, "kind": kind.kind, "apiVersion": kind.api_version} for one in found]


def _counts(scope: Scope, kind: Kind, one: Json) -> bool:
    name = one["metadata"]["name"]
    if f"{kind.word}/{name}" in _GIVEN or (kind.kind == "ConfigMap" and name == ledger.name_of(scope)):
        return False
    # What another object made for itself is not anybody's declaration.
    return not one["metadata"].get("ownerReferences")


@dataclass(frozen=True)
class _Found:
    connection: Connection
    scope: Scope
    namespace: str
    kind: Kind
    live: Json
    opened: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> Address:
        return Address(self.scope.target, DRIVER, self.kind.word, self.live["metadata"]["name"])

    @property
    def marks(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.live["metadata"].get("annotations") or {}
        return found

    def observed(self) -> Observed:
        metadata = self.live["metadata"]
        owner, handle = owner_of(self.scope, metadata.get("labels")), str(metadata["uid"])
        if owner != "mine":
            return Observed(self.address, owner, {"kind": self.kind.kind}, handle=handle)
        spec, label = self._spec(), self.marks.get(FINGERPRINT, "")
        content = json.dumps([handle, label, spec], sort_keys=True)
        return Observed(
            self.address,
            "mine",
            spec,
            fingerprint=label,
            token=hashlib.sha256(content.encode()).hexdigest()[:16],
            health=self._health(),
            handle=handle,
            holds_data=self.marks.get(HOLDS_DATA) == "true",
            depends_on=needs_of(self.scope, self.marks),
            since=self._since(),
        )

    def _spec(self) -> dict[str, Any]:
        if self.kind is SECRET:
            return spec_of_secret(self.scope, self.live)
        live = spec_of(self.scope.agent, self.live)
        if self.live.get("immutable") and FINGERPRINT in self.marks:
            # Nobody could have changed its content; what it says besides matters to nobody.
            return live
        try:
            applied = json.loads(self.marks.get(APPLIED, ""))
            kind = applied["kind"]
        except (ValueError, KeyError, TypeError):
            # Adopted, or somebody removed the note: as it is, with all the defaults.
            return live
        if kind != self.kind.kind:
            return live
        told: dict[str, Any] = (
            applied
            if untouched(applied, live)
            else compared(applied, spec_of(self.scope.agent, self._wanted(applied)), live)
        )
        told |= additions.told(self.live, document_of(applied, self.namespace, self.address.name))
        return {**told, **self.opened}

    def _wanted(self, applied: Mapping[str, Any]) -> Any:
        """What an apply of the same once more would come to."""
        document = document_of(applied, self.namespace, self.address.name)
        metadata = document["metadata"]
        metadata["labels"] = {**metadata.get("labels", {}), **labels(self.scope)}
        marks = {key: value for key, value in self.marks.items() if key in OURS}
        metadata["annotations"] = {**metadata.get("annotations", {}), **marks}
        what = f"comparing {self.address}"
        try:
            return applying.apply(self.connection, document, what, dry=True, force=True)
        except ApiError as no:
            # Gone since it was listed, or not to be changed any more: then what stands is what there is to tell.
            if no.status not in {HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.CONFLICT}:
                raise
            return self.live

    def _health(self) -> Health:
        match self.kind.kind:
            case "Deployment" | "StatefulSet":
                return workload_health(self.connection, self.live)
            case "Job":
                return job_health(self.connection, self.live)
            case "PersistentVolumeClaim":
                return volume_health(self.live)
            case _:
                return HEALTHY

    def _since(self) -> str:
        """Since when it is available."""
        if self.kind.word != "service":
            return ""
        found: Iterator[str] = (
            str(one["lastTransitionTime"])
            for one in (self.live.get("status") or {}).get("conditions") or ()
            if one["type"] == "Available" and one["status"] == "True"
        )
        made = str(self.live["metadata"]["creationTimestamp"])
        return next(found, made).replace("Z", "+00:00")
