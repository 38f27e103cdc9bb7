"""The models that ``select:`` chooses from: a small list that ships with paictl, and where it is read.

Sizes are those of the published files, rounded; exact bytes and hashes are found out when a choice is locked.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from paictl.fit import memory
from paictl.fit.memory import Memory

__all__ = ["Entry", "Task", "shipped"]

Task = Literal["chat", "embed", "transcribe"]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    source: str
    tokenizer: str | None = None
    parameters: int
    size: int
    active: int | None = None
    context: int = 0
    kv_bytes_per_token: int = 0
    vocabulary: int = 0
    quality: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One model. ``size`` and ``active`` (what is read for each token) in bytes; a higher ``quality`` answers better."""

    name: str
    task: Task
    source: str
    tokenizer: str | None
    parameters: int
    size: int
    active: int
    context: int
    kv_bytes_per_token: int
    vocabulary: int
    quality: int

    def need(self, context: int) -> Memory:
        """About how much memory it takes with a context of that many tokens."""
        if self.task == "chat":
            return memory.estimated(self.size, self.kv_bytes_per_token, self.vocabulary, context)
        return memory.of_onnx(self.size) if self.task == "embed" else memory.of_speech(self.size)


@cache
def shipped() -> tuple[Entry, ...]:
    """The catalogue of this release, in the file's order."""
    text = Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8")
    rows = TypeAdapter(dict[str, _Row]).validate_python(tomllib.loads(text))
    return tuple(
        Entry(name=name, **{**row.model_dump(), "active": row.active or row.size}) for name, row in rows.items()
    )
