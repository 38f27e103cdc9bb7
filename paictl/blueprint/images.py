"""Which container images a manifest means: the published ones, by the tags known to this paictl, or those it names instead. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from paictl.blueprint import vpn_image
from paictl.errors import Unavailable
from paictl.manifest.load import Manifest

__all__ = ["PUBLISHED", "image_reference", "pinned_reference"]

PUBLISHED: Mapping[str, str] = {
    "base": "docker.io/library/python:3.11-slim-bookworm",
    "llama.cpp": "ghcr.io/ggml-org/llama.cpp:server",
    "ollama": "docker.io/ollama/ollama:latest",
    "vllm": "docker.io/vllm/vllm-openai:latest",
    "whisper": "ghcr.io/ggml-org/whisper.cpp:main",
    "qdrant": "docker.io/qdrant/qdrant:latest",
    "chroma": "docker.io/chromadb/chroma:latest",
    "pgvector": "docker.io/pgvector/pgvector:pg17",
    "temporal": "docker.io/temporalio/temporal:latest",
    "n8n": "docker.io/n8nio/n8n:latest",
}
"""Where each is published. A tag only says where to begin: what runs is the digest that ``agent.lock`` keeps.

MLC-LLM is not: its makers publish wheels alone. Nor is the VPN's, which is built from ``templates/vpn``.
"""

_FOR_NVIDIA: Mapping[str, str] = {"llama.cpp": "ghcr.io/ggml-org/llama.cpp:server-cuda"}
"""The ones that have another tag for cards; it serves on processors, too."""


def image_reference(manifest: Manifest, name: str) -> str:
    """What to ask an engine or a registry for: the image that the manifest names, else the published one, by its registry.

    Raises ``Unavailable`` where nobody publishes one.
    """
    images: Mapping[str, str] = {str(key): value for key, value in manifest.agent.spec.images.items()}
    if images.get(name):
        return images[name]
    if name == vpn_image.IMAGE:
        return vpn_image.image()
    cards = any(model.gpu != "none" for model in manifest.agent.spec.models.values())
    published = (_FOR_NVIDIA.get(name) if cards else None) or PUBLISHED.get(name)
    if published is None:
        raise Unavailable(
            f"nobody publishes an image of {name}", help=f"Build one that has it, and name it as spec.images.{name}."
        )
    registry = images.get("registry")
    return f"{registry.rstrip('/')}/{published.partition('/')[2]}" if registry else published


def pinned_reference(manifest: Manifest, locked: Mapping[str, str], name: str) -> str:
    """The same with the digest from the lock, when there is one: it alone decides what runs."""
    return locked.get(name) or image_reference(manifest, name)
