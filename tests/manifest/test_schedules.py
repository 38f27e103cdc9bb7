from __future__ import annotations

from itertools import product

from croniter import croniter

from paictl.manifest.schedules import check_schedules


def test_the_usual_schedules_are_told_without_the_library_exactly_as_the_library_tells_them() -> None:
    minutes = ("0", "9", "59", "60", "00", "*", "*/5", "1-5", "")
    hours = ("*", "0", "9", "10", "19", "20", "23", "24", "007", "x")
    weekdays = ("*", "0", "6", "7", "8", "mon", "*/2")
    written = [f"{minute} {hour} * * {day}" for minute, hour, day in product(minutes, hours, weekdays)]
    tree = {"spec": {"workflows": {text: {"schedule": text} for text in written}}}
    refused = {finding.path[2] for finding in check_schedules(tree)}
    assert refused == {text for text in written if len(text.split()) != 5 or not croniter.is_valid(text)}
