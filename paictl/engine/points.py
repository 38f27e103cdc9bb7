"""The moments at which a crash is tried: each names itself and its step to whoever listens. The crash matrix does; nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

__all__ = ["OnPoint", "Point", "pass_by"]

Point = Literal[
    "before-begin", "after-begin", "after-effect", "after-end", "during-wait", "during-state-write", "before-unlock"
]

OnPoint = Callable[[Point, str], None]
"""Called with the point and the id of the step, or what else it is about."""


def pass_by(point: Point, about: str) -> None:
    """Nothing happens here outside of tests."""
    del point, about
