"""When the agent acts by itself: which runs of its workflows are due, by cron and time zone.

Called by ``service``. It keeps one small file (or row): up to which moment each schedule has been served. Rules:

- A schedule counts from when the agent first saw it (or its expression or zone changed); nothing before that is due.
- After a pause (the machine was off) only the latest missed run is made up for, once and late; earlier ones are dropped.
- A run is named by its workflow and its moment, and DBOS starts each name once, so a crash between starting a run and
  writing that down doubles nothing.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from croniter import croniter

from paictl.clock import Clock, SystemClock
from paictl.runtime.config import ScheduledWorkflow

__all__ = ["Due", "FileKept", "Kept", "Schedules"]

log = logging.getLogger(__name__)

# A wall clock can be set, and a laptop sleeps without telling: look again at least this often.
_LONGEST_SLEEP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Due:
    """A run whose moment has come."""

    workflow: str
    moment: datetime

    @property
    def run(self) -> str:
        return f"run-{self.workflow}-{self.moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


class Kept(Protocol):
    """Where it is written down how far the schedules have been served."""

    def read(self) -> Mapping[str, Any]:
        """What was written last; nothing when nothing was, or it can't be read."""
        ...

    def write(self, content: Mapping[str, Any]) -> None:
        """Write it, durably and whole."""
        ...


class FileKept:
    """In a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mapping[str, Any]:
        try:
            known = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            log.warning("%s is unreadable; schedules count from now", self._path)
            return {}
        return known if isinstance(known, dict) else {}

    def write(self, content: Mapping[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self._path.with_suffix(".new")
        with temporary.open("w") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)


class Schedules:
    """The schedules of one agent, and how far each has been served."""

    def __init__(self, workflows: Mapping[str, ScheduledWorkflow], kept: Kept, clock: Clock | None = None) -> None:
        self._workflows = {name: workflow for name, workflow in workflows.items() if workflow.schedule}
        self._kept = kept
        self._clock = clock or SystemClock()
        self._served = self._load()

    def due(self) -> list[Due]:
        """The runs to start now, at most one a schedule."""
        now = self._clock.now()
        found: list[Due] = []
        for name, workflow in self._workflows.items():
            latest = _previous(workflow, now)
            if latest > self._served[name]:
                found.append(Due(name, latest))
        return sorted(found, key=lambda due: (due.moment, due.workflow))

    def started(self, due: Due) -> None:
        """Write down that a run was started."""
        before = self._served[due.workflow]
        self._served[due.workflow] = due.moment
        try:
            self._save()
        except BaseException:
            # It stays due, under the name that it was started by.
            self._served[due.workflow] = before
            raise

    def seconds_to_next(self) -> float:
        """How long there is nothing to do."""
        now = self._clock.now()
        nexts = [(_next(workflow, now) - now).total_seconds() for workflow in self._workflows.values()]
        return max(0.0, min([*nexts, _LONGEST_SLEEP_SECONDS]))

    def _load(self) -> dict[str, datetime]:
        known = self._kept.read()
        served: dict[str, datetime] = {}
        for name, workflow in self._workflows.items():
            entry = known.get(name)
            same = isinstance(entry, dict) and entry.get("as") == _identity(workflow)
            served[name] = datetime.fromisoformat(str(entry["served"])) if same and entry else self._clock.now()
        self._served = served
        self._save()
        return served

    def _save(self) -> None:
        content = {
            name: {"as": _identity(workflow), "served": self._served[name].isoformat()}
            for name, workflow in self._workflows.items()
        }
        self._kept.write(content)


def _identity(workflow: ScheduledWorkflow) -> str:
    return f"{workflow.schedule} {workflow.timezone}"


def _previous(workflow: ScheduledWorkflow, now: datetime) -> datetime:
    moment: datetime = _cron(workflow, now).get_prev(datetime)
    # A moment that is exactly now has come: get_prev gives the one before it.
    at = now.astimezone(ZoneInfo(workflow.timezone)).replace(microsecond=0)
    if croniter.match(str(workflow.schedule), at):
        return at.astimezone(UTC)
    return moment.astimezone(UTC)


def _next(workflow: ScheduledWorkflow, now: datetime) -> datetime:
    moment: datetime = _cron(workflow, now).get_next(datetime)
    return moment.astimezone(UTC)


def _cron(workflow: ScheduledWorkflow, now: datetime) -> croniter:
    return croniter(str(workflow.schedule), now.astimezone(ZoneInfo(workflow.timezone)))
