"""The Raspberry Pi's example, as a person types it, on a host that is fresh from its image and reaches no registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts import host as one
from tests.hosts.bootstrapping import typing
from tests.hosts.home import HostHome
from tests.hosts.lan import Lan
from tests.story.life import Life, knows_the_sister
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def home(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostHome]:
    pi = one.begin(lan, "raspberrypi")
    home = HostHome(tmp_path_factory.mktemp("home"), agent="hearth", host=pi)
    home.copy("raspberry-pi")
    home.edit("{address: raspberrypi.local, user: pi}", f"{{address: {pi.address}, user: {pi.user}, offline: true}}")
    # What Debian would have to bring for it is not there.
    home.edit("profile: raspberry-pi-5\n", "profile: raspberry-pi-5\n      system: {zram: 0}\n")
    # As Raspberry Pi OS has it for its first user.
    pi.exec(["sh", "-ec", f"echo '{pi.user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/010_{pi.user}-nopasswd"])
    _bootstrap(home)
    home.found = home.state()
    yield home
    pi.end()


def _bootstrap(home: HostHome) -> None:
    """At a terminal, with the password that the host came with."""
    with typing(home, "bootstrap") as terminal:
        assert home.there.address in terminal.see("Is it that one?")
        terminal.type("y\n")
        terminal.see("the password of")
        terminal.type(f"{home.there.password}\n")
    assert home.there.password not in terminal.shown


class TestTheRaspberryPi(Life):
    instructions = "prompts/hearth.md"

    @pytest.mark.promise(14)
    def test_it_is_back_by_itself_when_the_power_was_lost_and_remembers(self, home: HostHome) -> None:
        home.chat("My dog's name is Bello.")
        home.there.lose_power()
        assert home.running() == {}
        home.there.power_on()
        until(lambda: bool(home.json("status")["ready"]), "everything is ready again", 120)
        assert home.steps() == []
        assert "bello" in home.chat("What is my dog's name?").lower()


def test_what_somebody_changed_by_hand_is_found_and_mended(home: HostHome) -> None:
    unit = "/etc/systemd/system/paictl-hearth-agent.service"
    home.there.exec(["sh", "-ec", f"echo 'MemoryMax=infinity' >>{unit}; systemctl daemon-reload"])
    home.there.exec(["rm", "/etc/ssh/sshd_config.d/10-paictl.conf"])
    home.there.exec(["nft", "insert", "rule", "inet", "paictl", "input", "tcp", "dport", "8080", "accept"])
    assert {*home.steps()} >= {"hardening/pi5", "service/agent"}
    home.run("apply", "--yes")
    assert home.steps() == []
    assert "8080" not in home.there.exec(["nft", "list", "table", "inet", "paictl"])
    assert "infinity" not in home.there.exec(["cat", unit])
    home.there.exec(["test", "-e", "/etc/ssh/sshd_config.d/10-paictl.conf"])


@pytest.mark.promise(12)
def test_destroy_leaves_the_host_as_it_was_found_but_for_data(home: HostHome) -> None:
    home.run("destroy", "--yes")
    assert home.running() == {}
    assert home.kept()
    assert home.altered(kept=True) == []


@pytest.mark.promise(12)
def test_the_next_apply_remembers_still(home: HostHome) -> None:
    home.run("apply", "--yes")
    assert knows_the_sister(home)


@pytest.mark.promise(12)
def test_destroy_with_its_data_leaves_nothing(home: HostHome) -> None:
    home.run("destroy", "--yes")
    home.run("destroy", "--yes", *(word for address in home.kept() for word in ("--delete-data", address)))
    assert home.left() == []
    assert home.altered() == []
