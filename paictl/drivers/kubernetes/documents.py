"""Kubernetes' documents as the engine's specs and back: the fields that matter at the top, so that plans name them. Pure.

A Deployment's ``spec.template`` is ``template`` in the engine's spec, and a ConfigMap's ``data`` is ``data``; ``labels`` and
``annotations`` are those of the metadata, without the driver's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from paictl.drivers.kubernetes.kinds import KINDS
from paictl.drivers.kubernetes.naming import AGENT, OURS, TARGET

__all__ = ["compared", "document_of", "parse", "spec_of", "untouched"]

Json = Mapping[str, Any]

_ABOUT = ("agent", "kind", "apiVersion", "labels", "annotations")
# By which the entries of a list are known, as the API server merges them.
_KEYS = ("name", "mountPath", "containerPort", "port", "ip", "topologyKey", "type")


def parse(text: str) -> Iterator[dict[str, Any]]:
    """The documents of one rendered file."""
    import yaml

    # libyaml, which is in the package's wheels, takes a fifteenth of the time of a parser in Python.
    for document in yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if document:
            yield json.loads(json.dumps(document))


def spec_of(agent: str, document: Json) -> dict[str, Any]:
    """What the engine compares."""
    metadata = document.get("metadata") or {}
    kind = KINDS[document["kind"]]
    inner = (
        {key: value for key, value in document.items() if key not in {"apiVersion", "kind", "metadata", "status"}}
        if kind.bare
        else dict(document.get("spec") or {})
    )
    return {
        "agent": agent,
        "kind": document["kind"],
        "apiVersion": document["apiVersion"],
        "labels": _without(metadata.get("labels"), (AGENT, TARGET)),
        "annotations": _without(metadata.get("annotations"), OURS),
        **inner,
    }


def document_of(spec: Json, namespace: str, name: str) -> dict[str, Any]:
    """The document that a spec stands for."""
    inner = {key: value for key, value in spec.items() if key not in _ABOUT}
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    metadata |= {key: dict(spec[key]) for key in ("labels", "annotations") if spec.get(key)}
    head = {"apiVersion": spec["apiVersion"], "kind": spec["kind"], "metadata": metadata}
    return {**head, **inner} if KINDS[str(spec["kind"])].bare else {**head, "spec": inner}


def _without(found: Json | None, keys: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in (found or {}).items() if key not in keys}


def untouched(applied: Json, live: Json) -> bool:
    """Whether each field that was applied is live to the letter, so that nobody need be asked what an apply would come to.

    Other fields beside them are defaults or others': an apply leaves them. Further down it may not (who declares a policy's
    selector declares all of it), so that everything below a field has to be the same.
    """
    return all(
        _within(value, live.get(key)) if key in {"labels", "annotations"} else live.get(key) == value
        for key, value in applied.items()
    )


def _within(applied: Json, live: Any) -> bool:
    return isinstance(live, dict) and applied.items() <= live.items()


def compared(applied: Any, wanted: Any, live: Any) -> Any:
    """What was applied, with what is live in place of each field that an apply would change.

    ``wanted`` is what the API server says that the apply comes to: it writes quantities its own way and fills in defaults, so
    that only it can be compared with what is live.
    """
    if wanted == live:
        return applied
    if isinstance(applied, dict) and isinstance(wanted, dict) and isinstance(live, dict):
        told = {key: compared(value, wanted.get(key), live.get(key)) for key, value in applied.items()}
        # What an apply would take away again: a selector's further label, where the whole of it is ours.
        told |= {key: live[key] for key in live.keys() - wanted.keys() - applied.keys()}
        return {key: value for key, value in told.items() if key in live or value is not None}
    if isinstance(applied, list) and isinstance(wanted, list) and isinstance(live, list):
        return _compared_lists(applied, wanted, live)
    return live


def _compared_lists(applied: list[Any], wanted: list[Any], live: list[Any]) -> Any:
    key = next((key for key in _KEYS if all(isinstance(one, dict) and key in one for one in applied)), None)
    if key is None or len({str(one[key]) for one in applied}) < len(applied):
        return live
    ours, theirs = _by(key, wanted), _by(key, live)
    told = [compared(one, ours.get(str(one[key])), theirs.get(str(one[key]))) for one in applied]
    return [one for one in told if one is not None]


def _by(key: str, entries: list[Any]) -> dict[str, Any]:
    return {str(one.get(key)): one for one in entries if isinstance(one, dict)}
