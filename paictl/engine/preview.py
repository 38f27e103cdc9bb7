"""What steps would change, told beforehand and task by task, by drivers whose steps are more than what a specification says.

Asked for by ``paictl plan --diff`` through the reconciler; nobody decides anything by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from paictl.engine.model import Address, Step
from paictl.events import Emit

__all__ = ["Difference", "Preview", "Previewing", "TaskPreview"]


@dataclass(frozen=True, slots=True)
class Difference:
    """What changes at one ``path`` (empty where that is not said): lines of a unified diff, without its two headers."""

    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskPreview:
    """One task by its name. ``certain``: it would change something; else it would run, and only running it tells what it changes."""

    name: str
    certain: bool = True
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """The tasks of one step, in their order. ``untold`` says why there is no more of them; empty when that is all."""

    tasks: tuple[TaskPreview, ...] = ()
    untold: str = ""

    @property
    def differs(self) -> bool:
        """Whether it shows what changes, line by line."""
        return any(task.differences for task in self.tasks)


@runtime_checkable
class Previewing(Protocol):
    """A driver that can look at what steps would change on its target. Others' plans show everything already."""

    def preview(self, steps: Sequence[Step], emit: Emit) -> Mapping[Address, Preview]:
        """What these steps would change, as far as can be told before any is made. Writes nothing, and reads no secret.

        Steps of which nothing is to be told (what deletes, what carries secrets) are left out.
        """
        ...
