"""Holds documents against published schemas, strictly: Kubernetes' own of the last five versions, and those of what clusters add.

The former are in the package kubernetes-validate. The latter are cut down to what paictl writes, with every field of theirs that
stands beside it, from ``config/crd/standard/gateway.networking.k8s.io_httproutes.yaml`` of kubernetes-sigs/gateway-api and
``config/crds/bases/external-secrets.io_externalsecrets.yaml`` of external-secrets/external-secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
from kubernetes_validate import utils

__all__ = ["ADDED", "VERSIONS", "wrong"]

VERSIONS: list[str] = list(dict.fromkeys(utils.all_versions()))[-5:]

# It reads its schemas anew for every document, which costs nearly all of its time.
utils.schema_contents = cache(utils.schema_contents)

_NAME = {
    "type": "string",
    "minLength": 1,
    "maxLength": 253,
    "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
}
_GROUP = {
    "type": "string",
    "maxLength": 253,
    "pattern": r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
}
_KIND = {"type": "string", "minLength": 1, "maxLength": 63, "pattern": r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required.split(), "properties": properties}


def _list(items: Mapping[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": most}


def _document(version: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": {"const": version}, "kind": {"const": kind}, "metadata": {"type": "object"}}
    return _object("apiVersion kind metadata spec", **head, spec=spec)


ADDED: Mapping[str, Mapping[str, Any]] = {
    "HTTPRoute": _document(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        _object(
            "",
            hostnames=_list(_NAME, 16),
            parentRefs=_list(
                _object("name", group=_GROUP, kind=_KIND, name=_NAME, namespace=_NAME, sectionName=_NAME, port=_PORT),
                32,
            ),
            rules=_list(
                _object(
                    "",
                    name=_NAME,
                    matches=_list(
                        _object(
                            "",
                            path=_object(
                                "",
                                type={"enum": ["Exact", "PathPrefix", "RegularExpression"]},
                                value={"type": "string", "maxLength": 1024, "pattern": "^/"},
                            ),
                        ),
                        64,
                    ),
                    backendRefs=_list(
                        _object(
                            "name",
                            group=_GROUP,
                            kind=_KIND,
                            name=_NAME,
                            namespace=_NAME,
                            port=_PORT,
                            weight={"type": "integer", "minimum": 0, "maximum": 1_000_000},
                        ),
                        16,
                    ),
                ),
                16,
            ),
        ),
    ),
    "ExternalSecret": _document(
        "external-secrets.io/v1",
        "ExternalSecret",
        _object(
            "",
            # Go's durations: neither days nor weeks.
            refreshInterval={"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$"},
            refreshPolicy={"enum": ["CreatedOnce", "Periodic", "OnChange"]},
            secretStoreRef=_object("", name=_NAME, kind={"enum": ["SecretStore", "ClusterSecretStore"]}),
            target=_object(
                "",
                name=_NAME,
                creationPolicy={"enum": ["Owner", "Orphan", "Merge", "None"]},
                deletionPolicy={"enum": ["Delete", "Merge", "Retain"]},
                immutable={"type": "boolean"},
            ),
            data=_list(
                _object(
                    "remoteRef secretKey",
                    secretKey={"type": "string", "minLength": 1, "maxLength": 253, "pattern": r"^[-._a-zA-Z0-9]+$"},
                    remoteRef=_object(
                        "key",
                        key={"type": "string"},
                        property={"type": "string"},
                        version={"type": "string"},
                        conversionStrategy={"enum": ["Default", "Unicode"]},
                        decodingStrategy={"enum": ["Auto", "Base64", "Base64URL", "None"]},
                        metadataPolicy={"enum": ["None", "Fetch"]},
                    ),
                ),
                1000,
            ),
        ),
    ),
}
"""Kind -> its schema, for the kinds that are not Kubernetes' own."""


def wrong(document: Mapping[str, Any], version: str) -> str:
    """What is wrong with it in that version; empty when nothing is."""
    try:
        if document["kind"] in ADDED:
            jsonschema.validate(document, ADDED[document["kind"]])
        else:
            kubernetes_validate.validate(dict(document), version, strict=True)
    except jsonschema.ValidationError as error:
        return f"{error.json_path}: {error.message}"
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return ""
