"""The rented server's example, with the VPN that it names, on a host that its provider just handed over, with a password."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from tests.hosts import host as one
from tests.hosts.found import differences
from tests.hosts.home import HostHome
from tests.hosts.lan import Lan, Refused
from tests.hosts.phone import connected
from tests.hosts.project import Project
from tests.story.life import knows_the_sister
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def home(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostHome]:
    server = one.begin(lan, "vps", online=True)
    home = HostHome(tmp_path_factory.mktemp("home"), agent="beacon", host=server)
    home.copy("vps")
    login = f"{{address: {server.address}, user: {server.user}, password: provider, become_password: provider}}"
    home.edit("{address: 203.0.113.7, user: debian}", login)
    home.edit('# vpn: {kind: wireguard, endpoint: "203.0.113.7', f'vpn: {{kind: wireguard, endpoint: "{server.address}')
    home.edit("spec:\n", "spec:\n  secrets:\n    provider: {from: env, name: PROVIDER_PASSWORD}\n")
    home.environment["PROVIDER_PASSWORD"] = server.password
    home.run("bootstrap", "--yes", "--trust-host-keys")
    home.found = home.state()
    yield home
    server.end()


class TestTheServer:
    def test_one_command_makes_the_agent_stand_and_it_answers_through_ssh_alone(self, home: HostHome) -> None:
        told = home.run("apply", "--yes")
        assert home.welcome in told.stdout
        assert home.chat("Tell me in one sentence what you can do.").strip()
        assert home.json("status")["ready"]
        with pytest.raises(Refused):
            home.there.lan.run(["nc", "-z", "-w", "1", home.there.address, "8750"])

    @pytest.mark.promise(1, 2)
    def test_the_second_apply_changes_nothing(self, home: HostHome) -> None:
        before, running = home.state(), home.running()
        assert home.steps() == []
        assert "nothing" in home.run("apply", "--yes").stdout
        assert home.running() == running
        assert differences(before, home.state()) == []

    @pytest.mark.promise(24)
    def test_verify_finds_every_room_closed(self, home: HostHome) -> None:
        checks = home.json("verify")
        assert checks["passed"], [check for check in checks["checks"] if not check["passed"]]

    def test_a_reboot_is_survived_with_what_was_told(self, home: HostHome) -> None:
        home.chat("My sister's name is Ines.")
        home.there.reboot()
        until(lambda: bool(home.json("status")["ready"]), "everything is ready again", 120)
        assert knows_the_sister(home)
        assert home.steps() == []

    @pytest.mark.promise(17)
    def test_an_upgrade_of_the_model_server_is_rolled_back(self, home: HostHome) -> None:
        before = home.running()
        home.edit("      task: chat\n", "      task: chat\n      threads: 2\n")
        assert home.steps() == ["service/model-chat"]
        home.run("apply", "--yes")
        after = home.running()
        assert {name for name in after if after[name] != before[name]} == {"model-chat"}
        home.run("rollback", "--yes")
        assert knows_the_sister(home)
        assert home.steps() == ["service/model-chat"]
        home.edit("      threads: 2\n", "")
        assert home.steps() == []

    def test_a_package_that_was_removed_and_a_file_that_was_deleted_are_brought_back(self, home: HostHome) -> None:
        home.there.exec(["dpkg", "--force-depends", "--remove", "unattended-upgrades"])
        home.there.exec(["rm", "/etc/sysctl.d/99-zz-paictl.conf"])
        assert home.steps() == ["base/vps1", "hardening/vps1"]
        home.run("apply", "--yes")
        assert home.steps() == []
        assert "ii" in home.there.exec(["dpkg", "-l", "unattended-upgrades"])

    def test_a_phone_with_what_was_printed_for_it_meets_the_gateway_and_nothing_else(self, home: HostHome) -> None:
        there = home.there.address
        added = home.json("vpn", "add", "phone")
        home.edit(f'"{there}:51820"', f'"{there}:51820", peers: {{{added["manifest"]}}}')
        assert home.steps() == ["vpn/vps1"]
        home.run("apply", "--yes")
        assert home.steps() == []
        with connected(home.there, added["configuration"]) as phone:
            until(lambda: '"ok"' in phone.reads(f"{added['url']}/healthz"), "the gateway through the tunnel")
            assert not phone.connects("10.87.0.1", 22)
            assert not phone.reads(f"http://{there}:8750/healthz")

    @pytest.mark.promise(12)
    def test_destroy_leaves_the_host_as_it_was_found_but_for_data(self, home: HostHome) -> None:
        home.run("destroy", "--yes")
        assert home.kept()
        assert home.altered(kept=True) == []
        home.run("apply", "--yes")
        assert knows_the_sister(home)


# What a host that is applied to for the first time has of an agent: other secrets, and nothing that it could know.
_LOSE = """
systemctl stop paictl-beacon.target "paictl-beacon-*.service"
rm -r /var/lib/paictl/beacon/data/*/*
for secret in /etc/paictl/beacon/secrets/*; do head -c 32 /dev/urandom | base64 -w 0 >"$secret"; done
systemctl start paictl-beacon.target
"""


class TestItsBackup:
    @pytest.mark.promise(20)
    def test_a_set_that_its_timer_made_brings_back_what_it_knew_to_a_host_that_knows_nothing(
        self, home: HostHome, tmp_path: Path
    ) -> None:
        key = pyrage.x25519.Identity.generate()
        (tmp_path / "age.key").write_text(f"{key}\n", encoding="ascii")
        place = f'{{to: "file:///srv/backup", encrypt: {{age: ["{key.to_public()}"]}}}}'
        home.edit("spec:\n", f"spec:\n  backup: {place}\n")
        assert home.steps() == ["backup/vps1"]
        home.run("apply", "--yes")
        made = _made(home)
        assert b"Ines" in pyrage.decrypt(made, [key])
        assert b"Ines" not in made
        (tmp_path / "set").write_bytes(made)

        home.there.exec(["sh", "-ec", _LOSE])
        until(lambda: bool(home.json("status")["ready"]), "the agent stands, and knows nothing", 60)
        assert not knows_the_sister(home)
        home.run("render", "-o", str(tmp_path / "rendered"))
        (login,) = (home.folder / "state").rglob("vps1.ed25519")
        given = ("-e", f"backup_set={tmp_path / 'set'}", "-e", f"backup_identity={tmp_path / 'age.key'}")
        Project(tmp_path / "rendered", home.there, "beacon").play(
            "--private-key", str(login), *given, book="restore.yaml"
        )
        home.run("apply", "--yes")
        assert knows_the_sister(home)
        assert home.steps() == []


def _made(home: HostHome) -> bytes:
    """The set that the timer's unit makes, which is as closed a room as the agent's own."""
    unit = "paictl-beacon-backup.service"
    assert home.there.exec(["systemctl", "is-active", unit.replace("service", "timer")]) == "active\n"
    home.there.exec(["systemctl", "start", unit])
    home.there.exec(["systemd-analyze", "security", "--threshold=10", "--no-pager", unit])
    return base64.b64decode(home.there.exec(["sh", "-c", "base64 /srv/backup/beacon/paictl-beacon-*.tar.age"]))
