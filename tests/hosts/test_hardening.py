"""The role `hardening` on real hosts: what it drops and never closes, what it mends, and that nobody is locked out for good."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paictl.assets import asset
from tests.hosts import host as one
from tests.hosts.host import Host
from tests.hosts.lan import Lan, Refused
from tests.hosts.play import Roles
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow]

_TABLE = ["nft", "--stateless", "--terse", "list", "table", "inet", "paictl"]
_DOCKER = """table ip nat {
  chain DOCKER { type nat hook prerouting priority dstnat; tcp dport 8080 dnat to 172.17.0.2:80; }
}
table ip filter {
  chain DOCKER-USER { counter return; }
}
"""
_OPEN: dict[str, Any] = {"open_ports": [8443], "open": [{"port": 8790, "sources": ["198.19.255.1"]}]}
# More than a busy machine takes between two tasks.
_SECONDS = 15


@pytest.fixture(scope="module")
def host(lan: Lan) -> Iterator[Host]:
    """One for all tests here, in their order: what one leaves the next begins with."""
    begun = one.begin(lan, "hardened")
    yield begun
    begun.end()


@pytest.fixture
def roles(host: Host, tmp_path: Path) -> Roles:
    return Roles(host, tmp_path)


def _play(roles: Roles, *options: str, task: str = "main", **variables: object) -> tuple[str, ...]:
    """Run the role, and say what it changed."""
    named = {f"hardening_{name}": value for name, value in variables.items()}
    played = roles.play(["hardening"], named, *options, task=task)
    assert played.ok, played.text
    return played.changed


def _answers(host: Host, port: int) -> bool:
    try:
        with socket.create_connection((host.address, port), timeout=1):
            return True
    except TimeoutError:
        return False
    except ConnectionRefusedError:
        return True


def _lets_in(host: Host) -> bool:
    try:
        return host.ssh("echo in", 5) == "in\n"
    except (Refused, subprocess.TimeoutExpired):
        return False


def _shell(host: Host, script: str) -> str:
    return host.exec(["sh", "-c", script])


def _mutated(roles: Roles, file: str, old: str, new: str) -> Roles:
    """The same, with a role that somebody made wrong."""
    folder = roles.folder / "mutated"
    shutil.copytree(asset("roles", "hardening"), folder / "hardening")
    path = folder / "hardening" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return replace(roles, roles=folder)


def test_check_mode_on_a_fresh_host_says_what_would_change_and_changes_nothing(host: Host, roles: Roles) -> None:
    before = _shell(host, "find /etc /var/lib/paictl -newermt @0 2>/dev/null | sort; nft list ruleset")
    told = _play(roles, "--check", "--diff", open_ports=[8443])
    assert "hardening : Write the firewall's and sshd's files" in told
    assert _shell(host, "find /etc /var/lib/paictl -newermt @0 2>/dev/null | sort; nft list ruleset") == before


def test_what_nobody_asked_for_is_dropped_and_a_second_run_changes_nothing(host: Host, roles: Roles) -> None:
    host.exec(["nft", "-f", "-"], _DOCKER)
    docker = host.exec(["nft", "list", "ruleset"])
    assert _answers(host, 8444)
    assert _play(roles, **_OPEN)
    assert _answers(host, 22)
    assert _answers(host, 8443)
    assert not _answers(host, 8444)
    assert not _answers(host, 8790)
    assert host.exec(["sysctl", "-n", "kernel.kptr_restrict"]) == "2\n"
    assert not _play(roles, **_OPEN)
    # What Docker set up is as it was, and no timer waits.
    assert docker.strip() in host.exec(["nft", "list", "ruleset"])
    _shell(host, "! systemctl is-enabled paictl-restore.timer && test ! -e /var/lib/paictl")


def test_what_was_changed_by_hand_is_mended_and_then_nothing_is(host: Host, roles: Roles) -> None:
    wanted = host.exec(_TABLE)
    _shell(
        host,
        "nft add rule inet paictl input tcp dport 9999 accept;"
        "echo 'X11Forwarding yes' >/etc/ssh/sshd_config.d/10-paictl.conf;"
        "sysctl -qw kernel.kptr_restrict=0; systemctl disable -q paictl-firewall.service;"
        "chmod 0666 /etc/nftables.d/paictl.nft",
    )
    assert _play(roles, **_OPEN)
    assert host.exec(_TABLE) == wanted
    assert "X11Forwarding no" in _shell(host, "cat /etc/ssh/sshd_config.d/10-paictl.conf")
    assert _shell(host, "sysctl -n kernel.kptr_restrict; systemctl is-enabled paictl-firewall") == "2\nenabled\n"
    assert not _play(roles, **_OPEN)


def test_two_agents_have_ports_of_their_own_and_the_last_one_takes_the_firewall_along(host: Host, roles: Roles) -> None:
    assert _play(roles, agent="other", open_ports=[8444])
    assert _answers(host, 8443)
    assert _answers(host, 8444)
    assert not _play(roles, **_OPEN)
    _play(roles, task="remove", agent="other")
    assert _answers(host, 8443)
    assert not _answers(host, 8444)
    _play(roles, task="remove")
    assert "paictl" not in host.exec(["nft", "list", "ruleset"])
    assert "DOCKER" in host.exec(["nft", "list", "ruleset"])
    assert _answers(host, 8445)


def test_rules_that_close_ssh_are_taken_back_by_the_host_itself(host: Host, roles: Roles) -> None:
    _play(roles)
    before = host.exec(_TABLE)
    wrong = _mutated(roles, "templates/table.nft.j2", 'iifname "lo" accept', "tcp dport 22 drop")
    # Unreachable, or, where the machine is slow, back already when somebody comes in: it is not kept either way.
    assert not wrong.play(["hardening"], {"hardening_confirm_seconds": _SECONDS}).ok
    until(lambda: _lets_in(host), "somebody is let in again", 4 * _SECONDS)
    assert host.exec(_TABLE) == before
    # The next run says so, and goes on.
    played = roles.play(["hardening"], {"hardening_open_ports": [8443]})
    assert played.ok, played.text
    assert "nobody could come in after the last change" in played.text
    _shell(host, "test ! -e /var/lib/paictl && ! systemctl is-enabled paictl-restore.timer")


def test_power_that_fails_before_anybody_came_in_does_not_keep_the_wrong_rules(host: Host, roles: Roles) -> None:
    wrong = _mutated(roles, "templates/table.nft.j2", 'iifname "lo" accept', "tcp dport 22 drop")
    played = wrong.play(["hardening"], {"hardening_confirm_seconds": 6 * _SECONDS, "hardening_open_ports": [8443]})
    assert played.counts["unreachable"] == 1, played.text
    # Sooner than the test would wait for: the timer begins again at boot.
    _shell(host, "sed -i s/OnActiveSec=.*/OnActiveSec=3s/ /etc/systemd/system/paictl-restore.timer; sync")
    host.lose_power()
    host.power_on()
    until(lambda: _lets_in(host), "somebody is let in again", 4 * _SECONDS)
    assert not _play(roles, open_ports=[8443])


def test_a_proof_of_keys_that_was_none_does_not_lock_the_password_out_for_good(host: Host, roles: Roles) -> None:
    variables = {"confirm_seconds": _SECONDS, "key_login_proven": True, "open_ports": [8443]}
    named = {f"hardening_{name}": value for name, value in variables.items()}
    assert not roles.play(["hardening"], named).ok
    until(lambda: _lets_in(host), "the password lets in again", 4 * _SECONDS)
    assert "PasswordAuthentication" not in _shell(host, "cat /etc/ssh/sshd_config.d/10-paictl.conf")


def test_settings_that_sshd_refuses_leave_everything_as_it_was(host: Host, roles: Roles) -> None:
    before = host.exec(_TABLE)
    wrong = _mutated(roles, "templates/sshd.conf.j2", "X11Forwarding no", "X11Forwarding perhaps")
    played = wrong.play(["hardening"], {"hardening_open_ports": [8444]})
    assert played.counts["failed"] == 1
    assert "keeps its firewall and sshd as they were" in played.text
    assert host.exec(_TABLE) == before
    assert _lets_in(host)
    assert not _play(roles, open_ports=[8443])


def test_passwords_are_off_once_a_key_let_somebody_in_also_after_a_reboot(host: Host, roles: Roles) -> None:
    key = roles.folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
    home = f"/home/{host.user}/.ssh"
    public = key.with_suffix(".pub").read_text(encoding="ascii")
    host.exec(["sh", "-c", f"mkdir -pm 700 {home}; cat >{home}/authorized_keys; chown -R {host.user} {home}"], public)
    by_key = replace(roles, key=key)
    # The connection that is kept open from play to play came in by the password.
    host.exec(["sh", "-c", f"pkill -f '^sshd: {host.user}' || true"])
    assert not _play(by_key, open_ports=[8443], keep_passwords=True)
    # The role sees by which way it came.
    assert _play(by_key, open_ports=[8443])
    assert not _lets_in(host)
    host.reboot()
    assert not _lets_in(host)
    assert not _answers(host, 8444)
    assert not _play(by_key, open_ports=[8443])
