"""How many of each service run, and what a cluster offers them, as types. ``models.py`` puts them together."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from paictl.manifest.strict import Strict

__all__ = ["DEFAULT_CPU", "Scale", "ServiceName"]

# As long as the longest name of a model, with `model-` before it.
ServiceName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,44}[a-z0-9])?$", examples=["gateway"])]

DEFAULT_CPU = 80
"""Percent of the requested CPU at which another one is started, where the manifest does not say."""


class Scale(Strict):
    """How many of one service run."""

    replicas: int = Field(default=1, ge=1, le=100, description="How many run; the least, where max is given.")
    max: int | None = Field(
        default=None, ge=1, le=100, description="Up to how many may run when there is much to do; replicas by default."
    )
    cpu: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="With max: at how many percent of the CPU that it asks for another one is started; 80 by default.",
    )
