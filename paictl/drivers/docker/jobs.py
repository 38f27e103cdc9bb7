"""The kind ``job``: a container that runs to success once. Ended, it stays: by it is known that the job has succeeded.

``paictl.render.docker`` writes jobs of its own into compose.yaml, which the driver has no need of; those that `docker compose up` left
are told of here, too, so that they go, and with them their hold on volumes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from paictl.drivers.docker.health import container_health
from paictl.drivers.docker.kind import Act
from paictl.drivers.docker.naming import AGENT, FINGERPRINT, KIND, NAME, NEEDS, owner_of, short_name
from paictl.drivers.docker.services import containers_of, stand_up, sweep
from paictl.engine.driver import Scope
from paictl.engine.model import Health
from paictl.errors import PaictlError

__all__ = ["JOB", "Jobs", "ended"]

JOB = "job"

_SUCCEEDED = "Exited (0)"
"""How the engine's list begins to tell of one that has."""

_SECONDS = 3600.0


class Jobs:
    """It ran already, it still runs, or it is run: the step is done once it has succeeded."""

    def make(self, act: Act) -> None:
        standing = containers_of(act.connection, act.scope, act.name, JOB)
        same = [one for one in standing if one["Labels"].get(FINGERPRINT) == act.step.fingerprint]
        if any(one["Status"].startswith(_SUCCEEDED) for one in same):
            return
        # One that runs is a killed paictl's: it goes on by itself, and must not run twice at once.
        running = next((one["Id"] for one in same if one["State"] == "running"), None)
        if running is None:
            _remove(act, standing)
            running = stand_up(act, 1, [act.text("alias")])
        _wait(act, running)

    def remove(self, act: Act) -> None:
        _remove(act, containers_of(act.connection, act.scope, act.name, JOB))
        sweep(act)


def ended(scope: Scope, listed: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, str], Health, str]]:
    """Every job of an agent: its name, its labels, how it ended and its container, from the engine's list alone."""
    for one in listed:
        marks = one.get("Labels") or {}
        if AGENT not in marks or marks.get(KIND) != JOB or owner_of(scope, marks) != "mine":
            continue
        # One of Compose's has no label for it: it goes before the volumes that it holds.
        volumes = [short_name(scope.agent, mount.get("Name") or "") for mount in one.get("Mounts") or ()]
        marks = {NEEDS: " ".join(f"volume/{name}" for name in volumes if name), **marks}
        if one["Status"].startswith(_SUCCEEDED):
            health = Health("healthy")
        elif one["State"] == "running":
            health = Health("starting", "it runs")
        else:
            health = Health("unhealthy", f"it did not succeed: {one['Status']}")
        yield marks[NAME], marks, health, str(one["Id"])


def _wait(act: Act, container: str) -> None:
    from requests.exceptions import ConnectionError as Broken
    from requests.exceptions import ReadTimeout

    probe = act.step.resource.probe if act.step.resource else None
    seconds = probe.timeout_seconds if probe else _SECONDS
    try:
        code = act.connection.api.wait(container, timeout=int(seconds))["StatusCode"]
    except (ReadTimeout, Broken) as error:
        if act.connection.ask(f"/containers/{container}/json")["State"]["Running"]:
            raise PaictlError(
                f"{act.step.address} has not ended after {seconds:g} s, and goes on", help="The same again waits on."
            ) from error
        raise
    if code != 0:
        told = act.connection.ask(f"/containers/{container}/json")
        raise PaictlError(
            f"{act.step.address} did not succeed: {container_health(act.connection, told).detail}",
            help="The next apply runs it again.",
        )


def _remove(act: Act, containers: Iterable[Mapping[str, Any]]) -> None:
    for one in containers:
        act.connection.api.remove_container(one["Id"], force=True, v=True)
