"""Puts what several threads want done on hosts into few plays: one runs at a time, and takes along all who wait. Used by ``acting``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

__all__ = ["Convoy", "Job"]

Result = TypeVar("Result")

# How long the first one waits for the others of a step of the executor, which begin within a few milliseconds of each other.
_GATHER_SECONDS = 0.03


@dataclass(frozen=True, eq=False)
class Job:
    """What one step wants done on one host: tasks of Ansible, the roles that they call, and files of the play."""

    name: str
    host: str
    tasks: Sequence[Mapping[str, Any]]
    roles: frozenset[str] = frozenset()
    files: Mapping[str, str | bytes] = field(default_factory=dict, repr=False)
    facts: bool = False

    def goes_with(self, others: Sequence[Job]) -> bool:
        """Whether one play can carry them all: a file of it has one content."""
        return all(
            self.files[path] == other.files[path] for other in others for path in self.files.keys() & other.files
        )


@dataclass(eq=False)
class _Ticket(Generic[Result]):
    job: Job
    result: Result | None = None
    error: BaseException | None = None
    done: bool = False


class Convoy(Generic[Result]):
    """``drive`` runs one play for some jobs, in their order, and returns what came of each."""

    def __init__(self, drive: Callable[[Sequence[Job]], Sequence[Result]]) -> None:
        self._drive = drive
        self._moved = threading.Condition()
        self._waiting: list[_Ticket[Result]] = []
        self._driving = False

    def carry(self, job: Job) -> Result:
        """Wait until it was carried out, and return what came of it; raises what ``drive`` raises."""
        ticket: _Ticket[Result] = _Ticket(job)
        with self._moved:
            self._waiting.append(ticket)
            self._moved.notify_all()
            while self._driving and not ticket.done:
                self._moved.wait()
            mine = not ticket.done
            if mine:
                self._driving = True
                self._gather()
        if mine:
            # One of those that wait then goes on, when this one has what it came for.
            while not ticket.done:
                self._go()
            with self._moved:
                self._driving = False
                self._moved.notify_all()
        if ticket.error is not None:
            raise ticket.error
        assert ticket.result is not None  # noqa: S101 - for the reader: one of both is there
        return ticket.result

    def _gather(self) -> None:
        """Until nobody else has come for a moment."""
        count = 0
        while len(self._waiting) > count:
            count = len(self._waiting)
            self._moved.wait(_GATHER_SECONDS)

    def _go(self) -> None:
        batch = self._board()
        try:
            results = self._drive([one.job for one in batch])
            for one, result in zip(batch, results, strict=True):
                one.result = result
        except BaseException as error:  # noqa: BLE001 - each of them has to hear of it, and the driver's own thread, too
            for one in batch:
                one.error = error
        with self._moved:
            for one in batch:
                one.done = True
            self._moved.notify_all()

    def _board(self) -> list[_Ticket[Result]]:
        """All that wait, in order of arrival, but for those whose files are others'."""
        with self._moved:
            batch: list[_Ticket[Result]] = []
            for one in self._waiting:
                # Behind one of its own host that stays, it stays too.
                left = {each.job.host for each in self._waiting[: self._waiting.index(one)] if each not in batch}
                if one.job.host not in left and one.job.goes_with([each.job for each in batch]):
                    batch.append(one)
            self._waiting = [one for one in self._waiting if one not in batch]
            return batch
