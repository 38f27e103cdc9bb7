"""Secrets in the cluster: values go there when they are made, and stand in no plan, no state and no look. Used by the driver."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from paictl.blueprint.types import Blueprint
from paictl.drivers.kubernetes.applying import apply, unclaimed
from paictl.drivers.kubernetes.connection import Connection, Json
from paictl.drivers.kubernetes.kinds import SECRET
from paictl.drivers.kubernetes.naming import FINGERPRINT, HOLDS_DATA, MANAGER, labels
from paictl.drivers.kubernetes.troubles import ApiError
from paictl.engine.driver import Scope, SecretReader
from paictl.engine.model import Step
from paictl.errors import Refused

__all__ = ["make", "present", "read", "spec_of_secret"]

_CONTENT, _GENERATED = "paictl/content", "paictl/generated"
_BYTES = 32
_ALTERED = "an altered value"
# Who it is; its values stay where they are.
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


def make(connection: Connection, scope: Scope, namespace: str, step: Step, reader: SecretReader) -> None:
    """Put the value there; one that is generated is made once, and stays as long as its data."""
    if step.resource is None:
        return
    spec, name = step.resource.spec, step.address.name
    generated, path = bool(spec["generated"]), SECRET.path(namespace, name)
    document = _document(scope, namespace, step)
    what = f"making {step.address}"
    unclaimed(connection, scope, document)
    if not generated:
        document["data"] = {"value": _encoded(reader(name))}
        apply(connection, document, what)
        return
    made = {**document, "data": {"value": _encoded(_generated())}}
    try:
        connection.send("POST", SECRET.path(namespace), what, made, fieldManager=MANAGER)
    except ApiError as no:
        if no.status != HTTPStatus.CONFLICT:
            raise
        # It is there: only what it says about itself may have changed.
        patch = {"metadata": {key: document["metadata"][key] for key in ("labels", "annotations")}}
        connection.send("PATCH", path, what, patch, kind="application/merge-patch+json", fieldManager=MANAGER)


def _document(scope: Scope, namespace: str, step: Step) -> dict[str, Any]:
    spec: Mapping[str, object] = step.resource.spec if step.resource else {}
    marks = {
        FINGERPRINT: step.fingerprint,
        HOLDS_DATA: str(bool(spec["generated"])).lower(),
        _CONTENT: str(spec["content"]),
        _GENERATED: str(bool(spec["generated"])).lower(),
    }
    known = {"app.kubernetes.io/instance": scope.agent, "app.kubernetes.io/managed-by": "paictl"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": step.address.name,
            "namespace": namespace,
            "labels": {**known, **labels(scope)},
            "annotations": marks,
        },
        "type": "Opaque",
    }


def _generated() -> bytes:
    return base64.urlsafe_b64encode(os.urandom(_BYTES)).rstrip(b"=")


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def read(connection: Connection, namespace: str, name: str) -> bytes | None:
    """The value, for who may have it; None when there is no such secret."""
    found = connection.find(SECRET.path(namespace, name), f"reading {name}")
    return base64.b64decode(found["data"]["value"]) if found and "value" in (found.get("data") or {}) else None


def present(connection: Connection, namespace: str, blueprint: Blueprint) -> None:
    """Raise ``Refused`` for one that is to be in the cluster already and is not: pods would wait for it."""
    for secret in blueprint.secrets:
        name, key = secret.kept
        if not name:
            continue
        try:
            connection.ask(SECRET.path(namespace, name), f"looking for {name}", accept=_METADATA)
        except ApiError as no:
            if no.status != HTTPStatus.NOT_FOUND:
                raise
            raise Refused(
                f"the secret {secret.name} is to be in the Secret {name} of {namespace}, which is not there",
                help=f"Make it: kubectl -n {namespace} create secret generic {name} --from-file={key}=FILE "
                f"(after `kubectl create namespace {namespace}`, where there is none).",
            ) from no


def spec_of_secret(scope: Scope, live: Json) -> dict[str, Any]:
    """What is known of one without its value: whoever changed that by hand is known by the fields that they hold."""
    marks = live["metadata"].get("annotations") or {}
    content = marks.get(_CONTENT, "")
    return {
        "agent": scope.agent,
        "kind": "Secret",
        "apiVersion": "v1",
        "generated": marks.get(_GENERATED) == "true",
        "content": _ALTERED if _altered(live) else content,
    }


def _altered(live: Json) -> bool:
    managers = live["metadata"].get("managedFields") or ()
    return any(
        one.get("manager") != MANAGER and "f:value" in (one.get("fieldsV1") or {}).get("f:data", {}) for one in managers
    )
