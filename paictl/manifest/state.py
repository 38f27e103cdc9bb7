"""Where the gateway and the agent keep what is theirs, as a type. ``models.py`` puts it together with the rest."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from paictl.manifest.sections import ClassName
from paictl.manifest.strict import Name, Strict

__all__ = ["State"]


class State(Strict):
    """Where gateway and agent keep what is theirs: memories, budgets, the audit log, work in flight."""

    engine: Literal["embedded", "postgres"] = Field(
        default="embedded",
        description="embedded: in files of their own, each of one process. postgres: in a database that several gateways share.",
    )
    manage: Literal["managed", "external"] = Field(
        default="managed", description="external: a Postgres that exists already, at url."
    )
    url: str | None = Field(
        default=None,
        pattern=r"^postgres(ql)?://\S+$",
        description="external: where it is; no password stands in it.",
        examples=["postgresql://atlas@db.example.org/atlas"],
    )
    secret: Name | None = Field(default=None, description="external: the declared secret that holds its password.")
    classes: list[ClassName] = Field(
        default_factory=list,
        description="external: of which data classes it may hold memories; none but public unless listed.",
    )
