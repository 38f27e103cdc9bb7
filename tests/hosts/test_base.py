"""The role `base` on a real host: what it makes, that it makes it once, mends it, and says by name what it can't get."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import host as one
from tests.hosts.host import Host
from tests.hosts.lan import Lan
from tests.hosts.play import Played, Roles

pytestmark = [pytest.mark.hosts, pytest.mark.roles, pytest.mark.slow]

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGL3R0TqKq1rJxJ9cSkHGoJmVqU7ZV0h2s4xLrEo2b1P alice@laptop"
_VARIABLES = {
    "base_offline": True,
    "base_timezone": "Europe/Berlin",
    "base_locale": "de_DE.UTF-8",
    "base_admins": [{"name": "alice", "authorized_keys": [_KEY]}],
    "base_journal_size": "32M",
    "base_journal_volatile": True,
    "base_swappiness": 100,
}
_CMDLINE = "console=tty1 root=PARTUUID=8a438930-02 rootfstype=ext4 fsck.repair=yes rootwait\n"


@pytest.fixture(scope="module")
def host(lan: Lan) -> Iterator[Host]:
    """One for all tests here, in their order, without a way to any mirror; its firmware's folder is a Pi's."""
    begun = one.begin(lan, "based")
    begun.exec(["sh", "-c", "mkdir -p /boot/firmware; cat >/boot/firmware/cmdline.txt"], _CMDLINE)
    yield begun
    begun.end()


@pytest.fixture
def roles(host: Host, tmp_path: Path) -> Roles:
    return Roles(host, tmp_path)


def _play(roles: Roles, *options: str, **more: object) -> Played:
    played = roles.play(["base"], _VARIABLES | more, *options)
    assert played.ok, played.text
    return played


def _shell(host: Host, script: str) -> str:
    return host.exec(["sh", "-c", script])


def _state(host: Host) -> str:
    """Every file of /etc and the firmware, with who may read it and what is in it."""
    return _shell(
        host, "find /etc /boot -type f -exec stat -c '%n %a' {} + -exec sha256sum {} + | sort; id alice 2>&1; true"
    )


def test_check_mode_on_a_fresh_host_says_what_would_change_and_changes_nothing(host: Host, roles: Roles) -> None:
    before = _state(host)
    told = _play(roles, "--check", "--diff").changed
    assert "base : Be in the declared time zone" in told
    assert "base : Have the admin" in told
    assert _state(host) == before


def test_everything_declared_is_made_and_a_second_run_changes_nothing(host: Host, roles: Roles) -> None:
    told = _play(roles)
    assert "limits no memory before it is rebooted" in told.text or "limits memory" in told.text
    assert _shell(host, "date +%Z; cat /etc/timezone").split() == ["CET", "Europe/Berlin"]
    assert "de_DE.utf8" in _shell(host, "locale -a; cat /etc/default/locale")
    assert _KEY in _shell(host, "cat /home/alice/.ssh/authorized_keys")
    assert _shell(host, "runuser -u alice -- sudo -n id -u") == "0\n"
    assert _shell(host, "cat /boot/firmware/cmdline.txt") == _CMDLINE.replace("\n", " cgroup_enable=memory\n")
    assert _shell(host, "cat /proc/sys/vm/swappiness") == "100\n"
    # Kept in memory: what is written to the log from here on does not reach the disk.
    _shell(host, "logger only-in-memory; journalctl --sync")
    assert "only-in-memory" in _shell(host, "journalctl -q --directory=/run/log/journal")
    assert "only-in-memory" not in _shell(host, "journalctl -q --directory=/var/log/journal 2>/dev/null; true")
    # A container's clock is its machine's.
    assert "install ok" not in _shell(host, "dpkg-query -W -f '${Status}' systemd-timesyncd; true")
    assert not _play(roles).changed


def test_what_was_changed_by_hand_is_mended_and_what_is_a_persons_own_stays(host: Host, roles: Roles) -> None:
    _shell(
        host,
        "echo 'Storage=persistent' >>/etc/systemd/journald.conf.d/50-paictl.conf; systemctl restart systemd-journald;"
        "rm /etc/localtime /etc/sudoers.d/paictl-alice; sysctl -qw vm.swappiness=60;"
        "sed -i '/alice@laptop/d' /home/alice/.ssh/authorized_keys;"
        "echo 'ssh-ed25519 AAAA bob@desk' >>/home/alice/.ssh/authorized_keys;"
        "sed -i 's/Automatic-Reboot .*/Automatic-Reboot \"true\";/' /etc/apt/apt.conf.d/52paictl-unattended-upgrades",
    )
    assert len(_play(roles).changed) >= 5
    assert _shell(host, "date +%Z; cat /proc/sys/vm/swappiness").split() == ["CET", "100"]
    keys = _shell(host, "cat /home/alice/.ssh/authorized_keys")
    assert _KEY in keys
    assert "bob@desk" in keys
    assert 'Automatic-Reboot "false"' in _shell(host, "apt-config dump")
    host.reboot()
    assert not _play(roles).changed


def test_updates_are_taken_from_debians_security_and_from_raspberry_pi_os(host: Host) -> None:
    told = _shell(host, "unattended-upgrade --dry-run --debug 2>&1 | grep 'Allowed origins'")
    assert "origin=Debian,codename=bookworm-security,label=Debian-Security" in told
    assert "origin=Raspberry Pi Foundation,codename=bookworm" in told


def test_without_a_mirror_what_is_missing_is_said_by_name(host: Host, roles: Roles) -> None:
    wanted = {"base_packages": ["ca-certificates", "paictl-one", "paictl-two"]}
    played = roles.play(["base"], _VARIABLES | wanted)
    assert played.counts["failed"] == 1
    assert "lacks paictl-one, paictl-two, and could not get them: it is offline" in " ".join(played.text.split())


def test_a_folder_of_packages_here_is_enough(host: Host, roles: Roles) -> None:
    folder = roles.folder / "packages"
    for name, needs in (("paictl-one", "paictl-two"), ("paictl-two", "adduser"), ("adduser", "")):
        _package(folder, name, needs)
    variables = {"base_packages": ["ca-certificates", "paictl-one"], "base_packages_folder": str(folder)}
    _play(roles, **variables)
    # What it needs came along; what was there already, newer than in the folder, stayed.
    told = _shell(host, "dpkg-query -W -f '${Package} ${db:Status-Status} ${Version}\\n' paictl-one paictl-two adduser")
    assert "paictl-one installed 1" in told
    assert "paictl-two installed 1" in told
    assert "adduser installed 3" in told
    assert not _play(roles, **variables).changed
    # Removed by hand, it comes back; one that is not in the folder is said by name.
    host.exec(["dpkg", "--purge", "paictl-one"])
    assert _play(roles, **variables).changed
    played = roles.play(["base"], {**_VARIABLES, **variables, "base_packages": ["paictl-three"]})
    assert "lacks paictl-three" in " ".join(played.text.split())
    assert "no .deb file of paictl-three" in played.text


def _package(folder: Path, name: str, needs: str) -> None:
    """A package without files, of version 1."""
    control = folder / name / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    depends = f"Depends: {needs}\n" if needs else ""
    control.write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n{depends}Description: for a test\n",
        encoding="ascii",
    )
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", str(folder / name), str(folder)], check=True)
