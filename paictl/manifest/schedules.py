"""Checks the schedules of workflows: cron expressions of five fields, and IANA time zones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from paictl.manifest.findings import Finding, nearest
from paictl.manifest.tree import entries

__all__ = ["check_schedules"]

_FIELDS = 5
# Each hour, day or week at a given time: what most schedules are.
_USUAL = re.compile(r"[1-5]?[0-9] (\*|1?[0-9]|2[0-3]) \* \* (\*|[0-6])")


def check_schedules(tree: Mapping[str, Any]) -> Iterator[Finding]:
    """Every schedule or time zone that is none."""
    for path, _, workflow in entries(tree, "spec", "workflows"):
        schedule, zone = workflow.get("schedule"), workflow.get("timezone")
        if isinstance(schedule, str) and not _is_cron(schedule):
            advice = 'five fields: minute hour day month weekday, such as "0 22 * * *"'
            yield Finding("schedule", (*path, "schedule"), f"`{schedule}` is not a cron expression", advice)
        if isinstance(zone, str) and not _is_zone(zone):
            advice = nearest(zone, available_timezones(), "time zones")
            if not advice.startswith("did you mean"):
                advice = "write a name of the IANA database, such as Europe/Lisbon or UTC"
            yield Finding("time-zone", (*path, "timezone"), f"`{zone}` is not a time zone", advice)


def _is_cron(expression: str) -> bool:
    if _USUAL.fullmatch(expression):
        return True
    # croniter takes 33 ms to import: only a manifest with other schedules pays for it.
    from croniter import croniter

    return len(expression.split()) == _FIELDS and croniter.is_valid(expression)


def _is_zone(name: str) -> bool:
    if name == "UTC":
        return True
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A machine without the database can't tell; the target's will.
        return not available_timezones()
    return True
