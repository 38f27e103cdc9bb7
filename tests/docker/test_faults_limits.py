"""An engine whose kernel holds no memory limit, as Raspberry Pi OS comes: said once, with what to do, and no drift for ever."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.docker import stock
from tests.docker.conftest import Reached
from tests.docker.daemon import Engine
from tests.docker.desk import Desk, made_desk

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.parametrize("private_engine", [64], indirect=True)]

_WAITS = ["sh", "-c", "touch /tmp/ready; trap exit TERM; while sleep 0.1; do :; done"]


@pytest.fixture
def desk(private_engine: Engine, tmp_path: Path) -> Iterator[Desk]:
    private_engine.signal(signal.SIGTERM)
    if private_engine.inside(["umount", "/sys/fs/cgroup/memory"]) != 0:
        pytest.skip("control groups of version 2: no controller can be taken from one engine alone")
    private_engine.serve()
    client = docker.APIClient(base_url=private_engine.host, version="auto")
    with made_desk(Reached(private_engine.host, client), tmp_path, stock.tiny(client)) as made:
        yield made
    client.close()


def test_limits_that_can_t_be_held_are_warned_of_once_and_planned_never_again(desk: Desk) -> None:
    resources = desk.alone(command=_WAITS)
    desk.apply(resources)
    [warning] = [event for event in desk.events if event.type == "warning"]
    assert warning.address == "service/inner"
    assert "does not support memory limit" in str(warning.data["text"])
    assert "cgroup_enable=memory" in str(warning.data["text"])
    assert desk.plan(resources) == ""
    assert desk.reconciler().status().ready
    # What it can hold, it holds.
    assert desk.inspect()["HostConfig"]["PidsLimit"] == 64
