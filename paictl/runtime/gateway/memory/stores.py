"""The vector store that a configuration names. Called once, when the door is built; reaches nothing yet."""

from __future__ import annotations

from paictl.runtime.config import StoreRoute
from paictl.runtime.gateway.memory.chroma import ChromaStore
from paictl.runtime.gateway.memory.pgvector import PgStore
from paictl.runtime.gateway.memory.port import VectorStore

__all__ = ["vector_store"]


def vector_store(route: StoreRoute) -> VectorStore | None:
    """None: the embedded one. Raises ``ValueError`` for an endpoint that is none."""
    match route.engine:
        case "pgvector":
            return PgStore(route)
        case "chroma":
            return ChromaStore(route)
        case "embedded":
            return None
