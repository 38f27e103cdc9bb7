"""The blueprints of every example and of every deployment that the tests know, as if each were for a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from paictl.blueprint.compile import Resolved, compile_blueprint
from paictl.blueprint.types import Blueprint, RuntimePin
from paictl.manifest.load import Manifest, load
from paictl.manifest.lock import LockedFile, LockedModel
from tests.blueprint.manifests import CHAT, EMBED
from tests.render.blueprints import EVERYTHING, QUICKSTART, ROUTED, WITH_API_MODEL

__all__ = ["EVERY"]

_EXAMPLES = Path(__file__).parents[2] / "examples"
_VOICE = LockedModel(
    weights=LockedFile("hf://a/b/ggml.bin", "d" * 64, 147_951_465, "ggml.bin"),
    format="ggml",
    engine="whisper.cpp",
    context=0,
)
_LOCKED = {"chat": CHAT, "embed": EMBED, "transcribe": _VOICE}


def _examples() -> Iterator[tuple[str, Blueprint]]:
    for path in sorted(_EXAMPLES.glob("*/agent.yaml")):
        manifest = load([path], env={})
        clusters = [name for name, one in manifest.agent.spec.targets.items() if one.driver == "kubernetes"]
        # What a blueprint holds does not depend on the driver, but for what only clusters are asked.
        for target in clusters or [manifest.target]:
            yield f"{path.parent.name}/{target}", _compiled(load([path], env={}, target=target))


def _compiled(manifest: Manifest) -> Blueprint:
    models = {name: _LOCKED[model.task] for name, model in manifest.agent.spec.models.items() if model.is_local}
    return compile_blueprint(manifest, Resolved(RuntimePin("0.1.0", "0" * 64), models, threads=3))


EVERY: dict[str, Blueprint] = {
    "quickstart": QUICKSTART,
    "api-model": WITH_API_MODEL,
    "everything": EVERYTHING,
    "routed": ROUTED,
    **dict(_examples()),
}
"""By their names."""
