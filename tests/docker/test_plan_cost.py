"""What a look at an engine costs it: one list a kind and one look at each container of ours, whatever else there is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paictl.engine.model import Resource
from tests.docker.calls import counted
from tests.docker.conftest import Reached
from tests.docker.desk import Desk, made_desk
from tests.engine.graphs import wanting
from tests.waiting import until

pytestmark = pytest.mark.docker

_LISTS = {"GET /containers/json": 1, "GET /networks": 1, "GET /volumes": 1, "GET /images/json": 1}

_LOOK = """
import sys
from paictl.drivers.docker.driver import DockerDriver
from paictl.engine.driver import Scope
assert DockerDriver().observe(Scope(sys.argv[1], "here")).resources
print(sorted({name.partition(".")[0] for name in sys.modules} & {"docker", "paramiko", "requests", "urllib3", "websocket"}))
"""


@pytest.fixture
def desk(engine: Reached, tmp_path: Path) -> Iterator[Desk]:
    with made_desk(engine, tmp_path) as made:
        yield made


def _more(desk: Desk, services: int) -> list[Resource]:
    """The small stack with so many services in all."""
    names = [f"more{number}" for number in range(services - 2)]
    desk.stack.say |= dict.fromkeys(names, "hello")
    return [*desk.stack.resources(), *(desk.stack.service(name) for name in names)]


def _asked(desk: Desk, engine: Reached, monkeypatch: pytest.MonkeyPatch, wanted: list[Resource]) -> Counter[str]:
    """What one plan that finds nothing to do asks the engine, once that has looked after the health of each container itself."""
    until(
        lambda: all("(healthy)" in one["Status"] for one in _containers(desk)), "what the engine says of their health"
    )
    with counted(engine.host) as calls, monkeypatch.context() as environment:
        environment.setenv("DOCKER_HOST", calls.host)
        driver = desk.stack.driver()
        found = Desk(desk.stack, desk.state, driver).reconciler().plan(wanting(wanted))
        assert found.empty, str(found)
        driver.connection.close()
        return calls.take()


def _containers(desk: Desk) -> list[dict[str, Any]]:
    mine = [f"paictl.agent={desk.stack.agent}", "paictl.kind=service"]
    found: list[dict[str, Any]] = desk.api.containers(all=True, filters={"label": mine})
    return found


def _looks_at(containers: int) -> dict[str, int]:
    """Each is inspected, since limits and rights that somebody changed are in no list; and each has one file of ours."""
    return {
        "GET /version": 1,
        **_LISTS,
        "GET /containers/ID/json": containers,
        "HEAD /containers/ID/archive": containers,
    }


@pytest.mark.slow
def test_three_times_the_services_cost_no_list_more_and_one_look_at_each(
    desk: Desk, engine: Reached, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = _more(desk, 2), _more(desk, 6)
    desk.apply(few)
    assert _asked(desk, engine, monkeypatch, few) == _looks_at(2)
    desk.apply(many)
    assert _asked(desk, engine, monkeypatch, many) == _looks_at(6)


def test_an_applys_lists_do_not_grow_with_what_stands(
    desk: Desk, engine: Reached, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    for services in (2, 6):
        wanted = _more(desk, services)
        desk.apply(wanted)
        desk.stack.say["outer"] = f"changed among {services}"
        with counted(engine.host) as calls, monkeypatch.context() as environment:
            environment.setenv("DOCKER_HOST", calls.host)
            driver = desk.stack.driver()
            applied = Desk(desk.stack, desk.state, driver).apply(_more(desk, services))
            driver.connection.close()
            assert {str(step.address) for step in applied.plan.steps} == {"service/outer"}
            # The list of containers is also how one is waited for.
            asked.append(
                {kind: count for kind, count in calls.take().items() if kind in {*_LISTS} - {"GET /containers/json"}}
            )
    assert asked[0] == asked[1]


def test_a_look_imports_neither_the_sdk_nor_what_it_stands_on(desk: Desk) -> None:
    desk.apply(desk.alone())
    command = [sys.executable, "-c", _LOOK, desk.stack.agent]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
