"""The engine that the Docker subject stands on."""

from __future__ import annotations

from tests.docker.conftest import engine

__all__ = ["engine"]
