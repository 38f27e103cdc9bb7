from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.vpn.wires import DOOR, Door, Key, Peer, gateway, opened

pytestmark = [pytest.mark.slow, pytest.mark.kubernetes]

PHONE, LAPTOP = "10.87.0.2", "10.87.0.3"
_HERE = f"{DOOR}:8700"


@pytest.fixture
def door() -> Iterator[Door]:
    peers = {"phone": (Key(), PHONE), "laptop": (Key(), LAPTOP)}
    with gateway() as target, opened(target, peers) as made:
        yield made


def _peer(door: Door, name: str) -> Peer:
    key, address = door.peers[name]
    return Peer.made(door.folder, key, address, door.key.public, f"127.0.0.1:{door.port}")


def test_peers_reach_the_gateway_through_a_program_without_any_privilege(door: Door) -> None:
    for name in ("phone", "laptop"):
        with _peer(door, name).forwarded(_HERE) as place:
            assert httpx.get(f"http://{place}/v1", trust_env=False).text == "hello from the gateway, /v1"
    assert door.running is not None
    status = Path(f"/proc/{door.running.pid}/status").read_text(encoding="ascii")
    if os.geteuid() == 0:
        assert "\nUid:\t65532\t65532" in status
        assert "\nCapEff:\t0000000000000000" in status


def test_what_is_said_arrives_whole_and_both_ways(door: Door) -> None:
    said = os.urandom(8 << 20)
    with _peer(door, "phone").forwarded(_HERE) as place:
        assert httpx.post(f"http://{place}/", content=said, trust_env=False, timeout=60).content == said


@pytest.mark.promise(28)
def test_who_has_no_key_of_a_peer_gets_no_answer(door: Door) -> None:
    stranger = Peer.made(door.folder, Key(), "10.87.0.9", door.key.public, f"127.0.0.1:{door.port}")
    assert "connected" not in stranger.tried(_HERE)[_HERE]
    # Nor does anything that is not WireGuard.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.settimeout(1)
        plain.connect(("127.0.0.1", door.port))
        plain.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            plain.recv(100)


@pytest.mark.promise(28)
def test_a_peer_can_not_take_the_address_of_another(door: Door) -> None:
    key, _ = door.peers["phone"]
    liar = Peer.made(door.folder, key, LAPTOP, door.key.public, f"127.0.0.1:{door.port}")
    assert "connected" not in liar.tried(_HERE)[_HERE]


@pytest.mark.promise(28)
def test_a_peer_reaches_one_port_of_one_address_and_nothing_else(door: Door) -> None:
    target = door.target.rpartition(":")[2]
    forbidden = [f"{DOOR}:8701", f"{DOOR}:{target}", f"{DOOR}:22", f"{LAPTOP}:8700", f"10.87.0.77:{target}"]
    found = _peer(door, "phone").tried(_HERE, *forbidden)
    assert found.pop(_HERE) == "connected"
    assert set(found) == set(forbidden)
    assert not [place for place, outcome in found.items() if outcome == "connected"]


def test_it_says_its_public_key_and_never_the_other_and_ends_when_it_is_told_to(door: Door) -> None:
    said = door.end()
    assert f"vpn: public key {door.key.public}, 2 peers\n" in said
    assert (door.folder / "vpn-key").read_text(encoding="ascii") not in said
    assert door.key.private.hex() not in said
    assert door.running is not None
    assert door.running.returncode == 0
    assert not door.healthy()


def test_a_gateway_that_is_away_is_said_and_waited_for() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address, port = taken.getsockname()
        with opened(f"{address}:{port}", {"phone": (Key(), PHONE)}) as door:
            with _peer(door, "phone").forwarded(_HERE) as place, pytest.raises(httpx.TransportError):
                httpx.get(f"http://{place}/", trust_env=False)
            assert door.healthy()
            assert "vpn: the gateway does not answer:" in door.end()
