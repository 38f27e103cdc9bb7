"""Ports of UDP, which only a VPN has: published as they are said, seen again, and told from TCP's of the same number."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from paictl.drivers.docker.ports import check
from paictl.engine.model import Resource
from paictl.errors import Refused
from tests.blueprint.test_vpn import compiled
from tests.docker.conftest import Reached
from tests.docker.desk import Desk, made_desk
from tests.ports import free_port

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def desk(engine: Reached, tmp_path: Path) -> Iterator[Desk]:
    with made_desk(engine, tmp_path) as made:
        yield made


def test_a_port_of_udp_is_published_seen_again_and_another_than_tcps(desk: Desk) -> None:
    port = free_port()

    def wanted(protocol: str) -> list[Resource]:
        image, network, service = desk.alone(ports=[f"127.0.0.1:{port}:5000{protocol}"])
        return [image, replace(network, spec={**network.spec, "internal": False, "options": {}}), service]

    desk.apply(wanted("/udp"))
    assert desk.inspect()["NetworkSettings"]["Ports"] == {"5000/udp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    assert desk.plan(wanted("/udp")) == ""
    assert "ports" in desk.plan(wanted(""))
    # Nobody can open it as a page.
    assert not desk.status("service/inner").url


def test_a_vpns_port_that_is_taken_is_told_before_anything_is_made(desk: Desk, tmp_path: Path) -> None:
    port = free_port()
    blueprint = compiled(tmp_path, "docker", f"{{endpoint: 'vpn.example.org:{port}'}}")
    connection = desk.driver.connection
    # The same number of TCP is another port.
    with socket.create_server(("127.0.0.1", port)):
        check(connection, blueprint, local=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        with pytest.raises(Refused, match=f"port {port} on 0.0.0.0 is taken") as caught:
            check(connection, blueprint, local=True)
    assert "vpn.endpoint" in caught.value.help
