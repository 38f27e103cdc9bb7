"""A Pi that thinks on another host: the agent lives on the one, its chat model answers from the other, and nobody notices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.hosts import host as one
from tests.hosts.home import HostHome
from tests.hosts.host import Host
from tests.hosts.lan import Lan
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]

_SECRETS = "  secrets: {pi: {from: env, name: PI_PASSWORD}, desk: {from: env, name: DESK_PASSWORD}}\n"


@dataclass(frozen=True)
class _Together:
    home: HostHome
    pi: Host
    desk: Host


def _login(host: Host, name: str) -> str:
    return f"address: {host.address}, user: {host.user}, password: {name}, become_password: {name}, offline: true"


@pytest.fixture(scope="module")
def together(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Together]:
    pi, desk = one.begin(lan, "together-pi"), one.begin(lan, "together-desk")
    passwords = {"PI_PASSWORD": pi.password, "DESK_PASSWORD": desk.password}
    home = HostHome(tmp_path_factory.mktemp("home"), environment=passwords, agent="hearth", host=pi)
    home.copy("raspberry-pi")
    both = f"pi5: {{{_login(pi, 'pi')}}}\n        desk: {{{_login(desk, 'desk')}, runs: [chat]}}"
    home.edit("pi5: {address: raspberrypi.local, user: pi}", both)
    home.edit("profile: raspberry-pi-5\n", "profile: raspberry-pi-5\n      system: {zram: 0}\n")
    home.edit("  memory:\n", f"{_SECRETS}\n  memory:\n")
    home.run("bootstrap", "--yes", "--trust-host-keys")
    home.run("apply", "--yes")
    yield _Together(home, pi, desk)
    pi.end()
    desk.end()


def test_the_agent_answers_from_one_host_what_a_model_on_the_other_says(together: _Together) -> None:
    assert together.home.chat("Good morning.").strip()
    assert {"gateway", "agent", "model-embed", "link"} <= set(together.home.running())
    assert "model-chat" not in together.home.running()
    units = together.desk.exec(["systemctl", "list-units", "--plain", "--no-legend", "paictl-hearth-*.service"])
    assert {line.split()[0] for line in units.splitlines()} == {
        "paictl-hearth-model-chat.service",
        "paictl-hearth-link.service",
    }
    assert together.home.steps() == []


def test_the_host_that_thinks_may_be_off_for_a_while(together: _Together) -> None:
    together.desk.reboot()
    until(lambda: bool(together.home.json("status")["ready"]), "everything is ready again", 180)
    assert together.home.chat("Are you there?").strip()


def test_a_key_that_somebody_took_away_is_made_anew_by_the_next_apply(together: _Together) -> None:
    together.desk.exec(["rm", "/etc/paictl/hearth/link/key.pem"])
    assert together.home.steps() == ["link/desk"]
    together.home.run("apply", "--yes")
    assert together.home.steps() == []
    assert together.home.chat("Still there?").strip()
