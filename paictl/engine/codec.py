"""Resources as JSON and back, for releases. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from paictl.engine.inventory import address_from_text
from paictl.engine.model import DataEffect, Probe, Resource
from paictl.errors import Span

__all__ = ["resource_from_json", "resource_to_json"]


def resource_to_json(resource: Resource) -> dict[str, object]:
    """JSON without what is empty. Specs hold no secret: only keyed fingerprints of them."""
    content: dict[str, object] = {"address": str(resource.address), "spec": resource.spec}
    if resource.depends_on:
        content["depends_on"] = [str(address) for address in resource.depends_on]
    if resource.replace_on:
        content["replace_on"] = sorted(resource.replace_on)
    for name in ("holds_data", "one_shot", "create_first", "downtime"):
        if getattr(resource, name):
            content[name] = True
    if resource.place:
        content["place"] = resource.place
    for name in ("probe", "effect", "origin"):
        value = getattr(resource, name)
        if value is not None:
            content[name] = asdict(value)
    return content


def resource_from_json(content: Mapping[str, Any], target: str, driver: str) -> Resource:
    """The resource of ``resource_to_json``; raises ``KeyError`` or ``TypeError`` when it is not one."""
    effect, probe, origin = content.get("effect"), content.get("probe"), content.get("origin")
    return Resource(
        address=address_from_text(content["address"], target, driver),
        spec=content["spec"],
        depends_on=tuple(address_from_text(need, target, driver) for need in content.get("depends_on", ())),
        probe=None if probe is None else Probe(**probe),
        replace_on=frozenset(content.get("replace_on", ())),
        holds_data=content.get("holds_data", False),
        one_shot=content.get("one_shot", False),
        create_first=content.get("create_first", False),
        downtime=content.get("downtime", False),
        effect=None if effect is None else DataEffect(**{**effect, "egress": tuple(effect.get("egress", ()))}),
        place=content.get("place", ""),
        origin=None if origin is None else Span(**origin),
    )
