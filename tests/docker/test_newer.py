"""What only engines newer than Debian's oldest have; and that the newest that Debian packages is one of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.docker import engine as engines
from tests.docker import newer, stock
from tests.docker.conftest import Reached
from tests.docker.desk import Desk, made_desk

pytestmark = [pytest.mark.docker, pytest.mark.slow]

# What an owner of an engine may want of every network on it.
DEFAULTS = (
    "--default-network-opt=bridge=com.docker.network.enable_ipv6=true",
    "--default-network-opt=bridge=com.docker.network.driver.mtu=1400",
    "--default-network-opt=bridge=com.docker.network.bridge.host_binding_ipv4=127.0.0.1",
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """On an engine whose networks have IPv6, an MTU and more unless somebody says otherwise."""
    if reason := newer.lacking():
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    programs = newer.newest()
    with engines.private(programs=programs.folders, flags=(*programs.flags, *DEFAULTS)) as engine, engine.entered():
        api = docker.APIClient(base_url=engine.host, version="auto")
        with made_desk(Reached(engine.host, api), tmp_path, stock.base(api)) as made:
            yield made
        api.close()


def room(api: docker.APIClient, name: str) -> dict[str, Any]:
    [found] = [one for one in api.networks(names=[name]) if one["Name"] == name]
    return dict(found)


@pytest.mark.promise(24)
def test_an_owners_defaults_give_the_room_no_address_of_the_machine_and_are_no_drift(desk: Desk) -> None:
    resources, api, name = desk.alone(), desk.stack.api, desk.stack.engine_name("inside")
    desk.apply(resources)
    made = room(api, name)
    assert made["EnableIPv6"] is False
    assert "com.docker.network.driver.mtu" in str(made["Options"]), "the engine has no such defaults"
    look = api.exec_create(desk.container(), ["cat", "/proc/net/if_inet6"])
    assert "eth0" not in api.exec_start(look["Id"]).decode()
    assert desk.plan(resources) == ""


def test_a_room_that_somebody_made_anew_with_ipv6_is_drift_and_is_mended(desk: Desk) -> None:
    resources, api, name = desk.alone(), desk.stack.api, desk.stack.engine_name("inside")
    desk.apply(resources)
    made = room(api, name)
    api.disconnect_container_from_network(desk.container(), name, force=True)
    api.remove_network(name)
    api.create_network(
        name,
        driver="bridge",
        internal=True,
        enable_ipv6=True,
        labels=made["Labels"],
        options={"com.docker.network.bridge.inhibit_ipv4": "true"},
    )
    assert "network/inside" in desk.plan(resources)
    desk.apply(resources)
    assert room(api, name)["EnableIPv6"] is False
    assert desk.plan(resources) == ""
