"""A VPN on a real host, and a second one as the phone: what it reaches with the file that `paictl vpn add` prints, and what not."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from paictl.cli.vpn import Device, configuration
from paictl.drivers.ansible.hosts import Hosts
from paictl.drivers.ansible.logs import tail
from paictl.engine.driver import Scope
from paictl.manifest.vpn import Vpn
from tests.hosts import host as one
from tests.hosts.host import Host
from tests.hosts.lan import Lan, Refused
from tests.hosts.playing import put
from tests.hosts.roles import applied, logins
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]

_SAID = re.compile(r"vpn: public key (\S+=), (\d+) peers")
_DOOR, _PORT = "10.87.0.1", 8700
# The gateway on loopback, and something else of the machine's that listens everywhere.
_GATEWAY = f"[Service]\nExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /srv/gateway {_PORT}\n"
_OTHER = "[Service]\nExecStart=/usr/bin/python3 -m http.server --directory /srv/gateway 8701\n"
_INSTALL = "\n[Install]\nWantedBy=multi-user.target\n"


def _pair() -> tuple[str, str]:
    key = X25519PrivateKey.generate()
    return b64encode(key.private_bytes_raw()).decode(), b64encode(key.public_key().public_bytes_raw()).decode()


@dataclass(frozen=True)
class _Vpn:
    """The gateway's host, a device of its owner, and what the roles are told."""

    server: Host
    phone: Host
    hosts: Hosts
    variables: Mapping[str, object]

    def apply(self, **more: object) -> set[str]:
        """As an apply of a manifest that says so."""
        return applied(self.hosts, "vpn", {"server": {**self.variables, **more}})

    def said(self) -> list[tuple[str, str]]:
        """What the VPN says of itself, as `paictl vpn` reads it: its public key, and how many may come in."""
        lines = tail(self.hosts, Scope("atlas", "home"), "vpn", 50, follow=False)
        return [(found[1], found[2]) for line in lines if (found := _SAID.search(line))]


def _reaches(host: Host, url: str) -> bool:
    with suppress(Refused):
        return "ok" in host.exec(["curl", "-sS", "--max-time", "3", url])
    return False


@pytest.fixture(scope="module")
def vpn(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Vpn]:
    """Made once: firewall and VPN on one host, WireGuard's own tools with the file for phones on the other."""
    server, phone = one.begin(lan, "vpn-server", online=True), one.begin(lan, "vpn-phone", online=True)
    units = {"gateway.service": _GATEWAY + _INSTALL, "other.service": _OTHER + _INSTALL}
    units["paictl-atlas.target"] = _INSTALL
    put(server, {name: text.encode() for name, text in units.items()}, "/etc/systemd/system")
    put(server, {"healthz": b"ok"}, "/srv/gateway")
    server.exec(["systemctl", "enable", "--quiet", "--now", *units])
    private, public = _pair()
    variables: dict[str, object] = {
        "vpn_agent": "atlas",
        "vpn_interface": "vpn-atlas",
        "vpn_address": _DOOR,
        "vpn_network": "10.87.0.0/24",
        "vpn_gateway_port": _PORT,
        "vpn_peers": [{"name": "phone", "public_key": public, "address": "10.87.0.2"}],
    }
    ways = [{"port": 51820, "protocol": "udp"}, {"port": _PORT, "interface": "vpn-atlas"}]
    with logins({"server": server}, tmp_path_factory.mktemp("state")) as hosts:
        made = _Vpn(server, phone, hosts, variables)
        applied(hosts, "hardening", {"server": {"hardening_agent": "atlas", "hardening_open": ways}})
        made.apply()
        phone.exec(
            [
                "sh",
                "-ec",
                "apt-get -qq update && apt-get -qq install --no-install-recommends wireguard-go wireguard-tools",
            ]
        )
        device = Device("phone", "10.87.0.2", public, private)
        text = configuration(device, Vpn(), made.said()[-1][0], f"{server.address}:51820")
        put(phone, {"phone.conf": text.encode()}, "/etc/wireguard")
        phone.exec(["wg-quick", "up", "phone"])
        yield made
    server.end()
    phone.end()


def test_a_device_with_the_file_that_was_printed_reaches_the_gateway_and_nothing_else(vpn: _Vpn) -> None:
    until(lambda: _reaches(vpn.phone, f"http://{_DOOR}:{_PORT}/healthz"), "the gateway through the tunnel")
    # What listens everywhere on the machine does so elsewhere than in the tunnel.
    assert _reaches(vpn.server, "http://127.0.0.1:8701/healthz")
    assert not _reaches(vpn.phone, f"http://{_DOOR}:8701/healthz")
    for closed in ("22", "8701"):
        with pytest.raises(Refused):
            vpn.phone.exec(["timeout", "3", "bash", "-c", f"exec 3<>/dev/tcp/{_DOOR}/{closed}"])
    # ssh goes on where it was.
    assert vpn.server.ssh("echo in") == "in\n"


def test_nobody_reaches_the_gateway_beside_the_tunnel(vpn: _Vpn) -> None:
    assert not _reaches(vpn.phone, f"http://{vpn.server.address}:{_PORT}/healthz")
    # By a packet for the tunnel's address that does not come through the tunnel.
    vpn.phone.exec(["wg-quick", "down", "phone"])
    try:
        vpn.phone.exec(["ip", "route", "add", _DOOR, "via", vpn.server.address])
        assert not _reaches(vpn.phone, f"http://{_DOOR}:{_PORT}/healthz")
        vpn.phone.exec(["ip", "route", "delete", _DOOR])
    finally:
        vpn.phone.exec(["wg-quick", "up", "phone"])
    until(lambda: _reaches(vpn.phone, f"http://{_DOOR}:{_PORT}/healthz"), "the gateway again")


def test_a_second_apply_changes_nothing(vpn: _Vpn) -> None:
    assert vpn.apply() == set()


def test_a_device_whose_line_is_taken_out_is_out_while_the_vpn_goes_on(vpn: _Vpn) -> None:
    shown = ["systemctl", "show", "--property", "MainPID,ActiveEnterTimestampMonotonic", "paictl-atlas-vpn.service"]
    before = vpn.server.exec(shown)
    laptop = {"name": "laptop", "public_key": _pair()[1], "address": "10.87.0.3"}
    vpn.apply(vpn_peers=[laptop])
    assert not _reaches(vpn.phone, f"http://{_DOOR}:{_PORT}/healthz")
    assert laptop["public_key"] in vpn.server.exec(["wg", "show", "vpn-atlas", "allowed-ips"])
    # The same device may have another address.
    moved = [{**laptop, "address": "10.87.0.9"}, *_peers(vpn)]
    vpn.apply(vpn_peers=moved)
    assert "10.87.0.9/32" in vpn.server.exec(["wg", "show", "vpn-atlas", "allowed-ips"])
    until(lambda: _reaches(vpn.phone, f"http://{_DOOR}:{_PORT}/healthz"), "the phone is in again")
    assert vpn.server.exec(shown) == before
    assert [peers for _, peers in vpn.said()][-2:] == ["1", "2"]
    assert len({key for key, _ in vpn.said()}) == 1


def _peers(vpn: _Vpn) -> list[Mapping[str, str]]:
    found = vpn.variables["vpn_peers"]
    assert isinstance(found, list)
    return found


def test_the_vpn_is_there_after_a_reboot_with_the_same_key(vpn: _Vpn) -> None:
    before = vpn.said()[-1][0]
    vpn.server.reboot()
    until(lambda: _reaches(vpn.phone, f"http://{_DOOR}:{_PORT}/healthz"), "the gateway after the reboot", 60)
    assert vpn.said()[-1][0] == before
    # Neither the system's own units nor ours had to give way: their order has no circle.
    states = vpn.server.exec(["systemctl", "is-active", "sockets.target", "paictl-atlas-vpn-door.socket"])
    assert states.split() == ["active", "active"]


def test_its_key_is_roots_and_neither_told_nor_on_a_command_line(vpn: _Vpn) -> None:
    path = "/etc/paictl/atlas/secrets/vpn-key"
    assert vpn.server.exec(["stat", "--format", "%a %U", path]).split() == ["400", "root"]
    key = vpn.server.exec(["cat", path]).strip()
    said = vpn.server.exec(["journalctl", "--no-pager", "--output", "cat"])
    running = vpn.server.exec(["sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '"])
    for form in (key, key.translate(str.maketrans("_-", "/+"))):
        assert form not in said
        assert form not in running


@pytest.mark.parametrize("unit", ["vpn", "vpn-door"])
def test_its_programs_are_confined_as_every_unit_is(unit: str, vpn: _Vpn) -> None:
    said = vpn.server.exec(["systemd-analyze", "security", "--no-pager", f"paictl-atlas-{unit}.service"])
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", said)
    assert exposure is not None
    assert float(exposure[1]) <= 1.0


def test_what_the_role_takes_away_is_gone_and_the_key_is_kept(vpn: _Vpn) -> None:
    applied(vpn.hosts, "vpn", {"server": vpn.variables}, "remove")
    assert "paictl-vpn" not in vpn.server.exec(["nft", "list", "tables"])
    assert "vpn-atlas" not in vpn.server.exec(["ip", "link"])
    assert ":51820 " not in vpn.server.exec(["ss", "--udp", "--listening", "--numeric", "--no-header"])
    assert vpn.server.exec(["lsns", "--noheadings", "--type", "net", "--output", "COMMAND"]).count("relay.py") == 0
    assert not _reaches(vpn.phone, f"http://{_DOOR}:{_PORT}/healthz")
    vpn.server.exec(["test", "-s", "/etc/paictl/atlas/secrets/vpn-key"])
