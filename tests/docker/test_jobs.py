"""A one-shot job on Docker runs to success once, and is remembered by what it left."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from paictl.drivers.docker.containers import from_compose
from paictl.drivers.docker.execution import run
from paictl.engine.fingerprint import fingerprint
from paictl.engine.model import Probe, Resource, Step
from paictl.errors import PartlyApplied
from paictl.events import ignore
from tests.docker.conftest import Reached
from tests.docker.desk import Desk, made_desk
from tests.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.promise(9)]


@pytest.fixture
def desk(engine: Reached, tmp_path: Path) -> Iterator[Desk]:
    with made_desk(engine, tmp_path) as made:
        yield made


def _job(desk: Desk, script: str) -> Resource:
    written = {
        "image": desk.stack.alias,
        "command": ["sh", "-ec", f"echo ran >>/data/runs; {script}"],
        "user": "65532:65532",
        "read_only": True,
        "cap_drop": ["ALL"],
        "network_mode": "none",
        "restart": "no",
        "logging": {"driver": "json-file"},
        "volumes": [{"type": "volume", "source": "door", "target": "/data"}],
    }
    spec = {"agent": desk.stack.agent, **from_compose("migrate", written, {}), "alias": "migrate", "started_with": {}}
    needs = tuple(desk.stack.address(one) for one in ("image/base", "volume/door"))
    return Resource(
        desk.stack.address("job/migrate"), json.loads(json.dumps(spec)), needs, probe=Probe(30.0), one_shot=True
    )


def _with_job(desk: Desk, script: str) -> list[Resource]:
    """The job, and a service that needs it and its data."""
    return [*desk.stack.resources()[:4], _job(desk, script), desk.stack.service("inner", "volume/door", "job/migrate")]


def _runs(desk: Desk) -> int:
    said = run(desk.driver.connection, desk.container("inner"), ["cat", "/data/runs"])
    return said.stdout.decode().count("ran")


def _steps(desk: Desk, resources: Sequence[Resource]) -> list[str]:
    return [line.split(" (")[0] for line in " ".join(desk.plan(resources).split()).split("\n") if line]


def test_a_job_succeeds_once_before_who_needs_it_and_is_remembered(desk: Desk) -> None:
    wanted = _with_job(desk, "true")
    desk.apply(wanted)
    assert _runs(desk) == 1
    assert desk.plan(wanted) == ""
    assert desk.reconciler().status().ready
    # Where the state is lost, but not the record on the engine.
    shutil.rmtree(desk.state)
    assert desk.apply(wanted).plan.empty
    # By the records alone, where somebody has tidied up.
    desk.api.remove_container(desk.container("migrate"))
    assert desk.apply(wanted).plan.empty
    assert _runs(desk) == 1
    other = _with_job(desk, "echo another")
    assert _steps(desk, other) == ["> job/migrate because what it runs has changed"]
    desk.apply(other)
    assert _runs(desk) == 2
    assert desk.plan(other) == ""
    assert len(desk.api.containers(all=True, filters={"label": ["paictl.kind=job"], "name": [desk.stack.agent]})) == 1
    desk.apply(wanted[:4])
    assert not desk.api.containers(all=True, filters={"label": ["paictl.kind=job"], "name": [desk.stack.agent]})


@pytest.mark.promise(10)
def test_a_job_that_fails_is_told_with_its_last_lines_and_runs_again(desk: Desk) -> None:
    failing = _with_job(desk, "echo the table is missing; exit 7")
    _, told = desk.refused(failing, PartlyApplied)
    assert "job/migrate did not succeed: it has ended with exit status 7\n  the table is missing" in told
    assert not desk.api.containers(all=True, filters={"name": [desk.container("inner")]})
    assert "> job/migrate because its last run did not succeed" in " ".join(desk.plan(failing).split())
    desk.refused(failing, PartlyApplied)
    desk.apply(_with_job(desk, "true"))
    assert _runs(desk) == 3


@pytest.mark.promise(14)
def test_a_job_that_runs_when_its_paictl_is_killed_is_waited_for_and_not_run_twice(desk: Desk) -> None:
    job = _job(desk, "sleep 3")
    desk.apply(desk.stack.resources()[:4])
    step = Step("run:job/migrate", job.address, "run", "so", resource=job, fingerprint=fingerprint(job.spec))
    first = threading.Thread(
        target=lambda: desk.stack.driver().act(step, secrets=desk.stack.secrets, emit=ignore), daemon=True
    )
    first.start()
    until(lambda: bool(desk.api.containers(filters={"name": [desk.container("migrate")]})), "it runs")
    desk.driver.act(step, secrets=desk.stack.secrets, emit=ignore)
    first.join(30)
    # Whoever comes after a crash knows by the container alone that it has succeeded.
    desk.driver.act(step, secrets=desk.stack.secrets, emit=ignore)
    [seen] = [one for one in desk.driver.observe(desk.stack.scope).resources if one.address == job.address]
    assert (seen.owner, seen.health.state, seen.fingerprint) == ("mine", "healthy", step.fingerprint)
    desk.apply(_with_job(desk, "sleep 3"))
    assert _runs(desk) == 1
