"""Apply of one changed line touches what follows from it: everything else on the engine keeps its id and runs on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest

from tests.docker.conftest import Reached
from tests.docker.quickstart import prepared
from tests.story.home import Home

pytestmark = [pytest.mark.docker, pytest.mark.slow]

AGENT = "touches-only"


@dataclass(frozen=True)
class World:
    """What stands: each service's container with its starts, each network's id, and the volumes.

    When a volume was made does not tell whether it is the same: engines give the time that its content changed.
    """

    services: dict[str, tuple[str, str, int]]
    networks: dict[str, str]
    volumes: set[str]


def look(api: docker.APIClient) -> World:
    mine: dict[str, Any] = {"label": [f"paictl.agent={AGENT}"]}
    containers = [api.inspect_container(one["Id"]) for one in api.containers(all=True, filters=mine)]
    return World(
        {
            one["Config"]["Labels"]["paictl.name"]: (one["Id"], one["State"]["StartedAt"], one["RestartCount"])
            for one in containers
        },
        {one["Name"]: one["Id"] for one in api.networks(filters=mine)},
        {one["Name"] for one in api.volumes(filters=mine)["Volumes"]},
    )


def differing(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


@pytest.fixture(scope="module")
def home(engine: Reached, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with prepared(engine.host, engine.api, tmp_path_factory.mktemp("touches"), AGENT) as made:
        made.run("apply", "--yes")
        yield made


# What a change may touch. A model's context size would be the agent's business, too: what it asks is cut to it.
@pytest.mark.parametrize(
    ("old", "new", "service"),
    [
        ("spec:\n", "spec:\n  permissions: {budget: {calls: 5000/day}}\n", "gateway"),
        ('"0 22 * * *"', '"0 21 * * *"', "agent"),
        ("      task: embed\n", "      task: embed\n      threads: 2\n", "model-embed"),
    ],
    ids=["a permission", "a schedule", "a model's threads"],
)
def test_one_changed_line_touches_one_service_and_nothing_else(
    old: str, new: str, service: str, home: Home, engine: Reached
) -> None:
    before = look(engine.api)
    assert {"secrets", "gateway", "agent", "model-chat", "model-embed"} <= {*before.services}
    home.edit(old, new)
    home.run("apply", "--yes")
    after = look(engine.api)
    assert differing(before.services, after.services) == {service}
    assert differing(before.networks, after.networks) == set()
    # Its configuration lies in a volume that is named by the content.
    changed = before.volumes ^ after.volumes
    assert len(changed) == 2
    assert {name.rpartition("-")[0] for name in changed} == {f"{AGENT}_config-{service}"}
    assert home.run("plan").stdout.strip().startswith(f"{AGENT} on here: nothing to do")


def test_an_apply_of_nothing_touches_nothing(home: Home, engine: Reached) -> None:
    before = look(engine.api)
    home.run("apply", "--yes")
    assert look(engine.api) == before
