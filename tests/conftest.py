"""What every test session has: the record of which promise was kept where (read by ``tests.promises``)."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import hypothesis
import pytest

RECORD = "PAICTL_PROMISES_RECORD"


def pytest_configure() -> None:
    # Whoever starts the tests in the background of a script has Ctrl-C ignored, and every child would inherit that.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How fast inputs are made is the machine's business, and it may be busy. Continuous integration tries the same inputs each
    # time, so that it fails for what was changed; people look for new ones.
    hypothesis.settings.register_profile(
        "paictl",
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        deadline=None,
        derandomize=os.environ.get("CI") == "true",
    )
    hypothesis.settings.load_profile("paictl")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker in item.iter_markers("promise"):
            item.user_properties += [("promise", number) for number in marker.args]
        item.user_properties.append(("driver", _driver(item)))


def _driver(item: pytest.Item) -> str:
    """On which driver a test runs: on an engine by its mark, else the parameter of the contract suite or the folder it stands in."""
    if item.get_closest_marker("docker"):
        return "docker"
    for name in ("native", "docker", "kubernetes", "ansible", "fake"):
        if f"[{name}" in item.name or f"drivers/{name}/" in item.nodeid:
            return name
    for marker, name in (("docker", "docker"), ("real", "native")):
        if item.get_closest_marker(marker):
            return name
    return "fake" if item.nodeid.startswith(("tests/engine", "tests/crash", "tests/plans", "tests/cli")) else ""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Append one line a test; only the controlling process writes, so that parallel workers don't write twice."""
    record = os.environ.get(RECORD)
    decisive = report.when == "call" or (report.when == "setup" and report.outcome != "passed")
    if not record or not decisive or os.environ.get("PYTEST_XDIST_WORKER"):
        return
    properties = dict(report.user_properties)
    promises = [number for name, number in report.user_properties if name == "promise"]
    if promises:
        line = {
            "test": report.nodeid,
            "promises": promises,
            "driver": properties.get("driver", ""),
            "outcome": report.outcome,
        }
        with Path(record).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
