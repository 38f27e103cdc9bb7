"""What a person sees of a VPN; the program itself is tried in tests/vpn."""

from __future__ import annotations

import ipaddress

import pytest

from paictl.cli.vpn import Device, configuration, free_address
from paictl.errors import Refused
from paictl.manifest.vpn import Vpn, VpnPeer
from tests.cli.conftest import MANIFEST, World

_KEY = "Hk0xwHsrMbMKZSvmHyTFLWnqXlFZ5kbJ0qO0kQLqPXo="
_DOOR = "1k0xwHsrMbMKZSvmHyTFLWnqXlFZ5kbJ0qO0kQLqPXo="


def _vpn(network: str = "10.87.0.0/24", **peers: str) -> Vpn:
    made = {name: VpnPeer(public_key=_KEY, address=address) for name, address in peers.items()}
    return Vpn(endpoint="vpn.example.org:51820", network=network, peers=made)


def test_a_device_is_given_the_first_address_that_nobody_has() -> None:
    assert free_address(_vpn()) == "10.87.0.2"
    assert free_address(_vpn(phone="10.87.0.2", laptop="10.87.0.4")) == "10.87.0.3"
    full = {f"a{number}": str(ipaddress.ip_address("10.87.0.0") + number) for number in range(2, 7)}
    with pytest.raises(Refused, match=r"every address of 10\.87\.0\.0/29 is taken"):
        free_address(_vpn("10.87.0.0/29", **full))


def test_a_devices_file_leads_to_the_gateway_and_to_nothing_else() -> None:
    text = configuration(Device("phone", "10.87.0.2", _KEY, "private"), _vpn(), _DOOR, "vpn.example.org:51820")
    assert text == (
        "[Interface]\nPrivateKey = private\nAddress = 10.87.0.2/32\nMTU = 1280\n\n"
        f"[Peer]\nPublicKey = {_DOOR}\nEndpoint = vpn.example.org:51820\nAllowedIPs = 10.87.0.1/32\nPersistentKeepalive = 25\n"
    )
    assert "PrivateKey = (the device's own)\n" in configuration(Device("phone", "10.87.0.2", _KEY), _vpn(), _DOOR, "")


def _told(world: World, vpn: str) -> None:
    world.manifest.write_text(MANIFEST.replace("{driver: fake}", f"{{driver: fake, vpn: {vpn}}}"), encoding="utf-8")


def _refused(world: World, code: int, *args: str) -> str:
    done = world.run("vpn", *args)
    assert done.returncode == code, done.stderr
    assert "[Interface]" not in done.stdout
    return done.stderr


def test_the_devices_are_listed_with_where_they_find_the_gateway(world: World) -> None:
    _told(world, f"{{endpoint: 'vpn.example.org:51820', peers: {{phone: {{public_key: {_KEY}, address: 10.87.0.2}}}}}}")
    said = world.run("vpn").stdout
    assert "gateway     http://10.87.0.1:8700\n" in said
    assert f"phone   10.87.0.2  {_KEY}" in said
    peers = world.document("vpn")["peers"]
    assert peers == [{"name": "phone", "public_key": _KEY, "address": "10.87.0.2"}]


def test_a_device_is_not_made_before_the_other_end_is_known_nor_twice_nor_without_a_vpn(world: World) -> None:
    assert "has no VPN" in _refused(world, 2, "add", "phone")
    _told(world, f"{{endpoint: 'vpn.example.org:51820', peers: {{phone: {{public_key: {_KEY}, address: 10.87.0.2}}}}}}")
    assert "there is a device phone already" in _refused(world, 4, "add", "phone")
    assert "a new device needs a name" in _refused(world, 2, "add")
    assert "no public key of WireGuard" in _refused(world, 2, "add", "watch", "--public-key", "short")
    assert "the VPN's own public key is not known" in _refused(world, 4, "add", "watch")


def test_a_mesh_lets_its_devices_in_by_itself(world: World) -> None:
    _told(world, "{manage: external, address: 100.64.0.7, host: atlas.example.ts.net}")
    assert "gateway     http://atlas.example.ts.net:8700\n" in world.run("vpn").stdout
    assert "the mesh's own tools let devices in" in _refused(world, 2, "add", "phone")
