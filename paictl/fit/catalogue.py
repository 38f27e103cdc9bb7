"""The models that ``select:`` chooses from: a small list that ships with paictl, and where it is read.

Sizes are those of the published files, rounded; exact bytes and hashes are found out when a choice is locked.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter

from paictl.fit import memory
from paictl.fit.memory import Memory

__all__ = ["Entry", "Task", "shipped"]

Task = Literal["chat", "embed", "transcribe"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One model. ``size`` in bytes, and ``active`` those of them that are read for each token where not all are.

    ``context`` and ``vocabulary`` count tokens; a higher ``quality`` answers better.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    task: Task
    source: str
    parameters: int
    size: int
    quality: int
    tokenizer: str | None = None
    active: int = 0
    context: int = 0
    kv_bytes_per_token: int = 0
    vocabulary: int = 0

    @property
    def read_per_token(self) -> int:
        """Bytes that generating one token reads."""
        return self.active or self.size

    def need(self, context: int) -> Memory:
        """About how much memory it takes with a context of that many tokens."""
        if self.task == "chat":
            return memory.estimated(self.size, self.kv_bytes_per_token, self.vocabulary, context)
        return memory.of_onnx(self.size) if self.task == "embed" else memory.of_speech(self.size)


@cache
def shipped() -> tuple[Entry, ...]:
    """The catalogue of this release, in the file's order."""
    text = Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8")
    rows = [{"name": name, **row} for name, row in tomllib.loads(text).items()]
    return tuple(TypeAdapter(list[Entry]).validate_python(rows))
