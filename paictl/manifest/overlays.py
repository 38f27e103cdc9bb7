"""Takes the ``overlays`` out of a manifest and makes layers of them. ``load`` calls this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from paictl.manifest.findings import Findings, nearest
from paictl.manifest.merge import Layer
from paictl.manifest.source import Source
from paictl.manifest.tree import mapping_at

__all__ = ["base_layer", "check_overlays", "overlay_layer"]


def base_layer(source: Source) -> Layer:
    """A file without its overlays."""
    return Layer({key: value for key, value in source.tree.items() if key != "overlays"}, source.places)


def overlay_layer(source: Source, target: str) -> Layer | None:
    """What a file lays over itself for one target, with the places it has in the file."""
    overlay = mapping_at(source.tree, "overlays", target)
    if "spec" not in overlay:
        return None
    prefix = ("overlays", target)
    places = {
        path[2:]: place for path, place in source.places.items() if path[:2] == prefix and len(path) > len(prefix)
    }
    return Layer({"spec": overlay["spec"]}, places)


def check_overlays(first: Source, others: Iterable[Source], targets: Mapping[str, Any], findings: Findings) -> None:
    """Overlays stand in the first file, are named after a target, and change nothing but ``spec``."""
    for source in others:
        if "overlays" in source.tree:
            span = source.places["overlays",].key
            findings.add(
                "overlay", "overlays belong in the first file", span, advice="this file is laid over it as a whole"
            )
    for name, overlay in mapping_at(first.tree, "overlays").items():
        if name not in targets:
            span = first.places["overlays", name].key
            advice = nearest(name, targets, "targets")
            findings.add("overlay", f"there is no target `{name}` to lay this over", span, advice=advice)
        for key in overlay if isinstance(overlay, dict) else ():
            if key != "spec" and not key.startswith("x-"):
                span = first.places["overlays", name, key].key
                findings.add(
                    "overlay", f"an overlay can't change `{key}`", span, advice="put what differs under `spec`"
                )
