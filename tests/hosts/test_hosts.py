"""The hosts themselves: that they are what a provider would hand out, and can suffer what real ones do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.hosts.conftest import Begin
from tests.hosts.host import Host
from tests.hosts.lan import Lan, Refused, sweep
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow]

_BOOT_SECONDS = 10
_MIRROR = "http://deb.debian.org/debian/dists/bookworm/InRelease"
_REACHES = f"curl --silent --show-error --fail --max-time 20 --output /dev/null {_MIRROR}"
_DROP = """table inet guard {
  chain input { type filter hook input priority 0; policy drop; tcp dport 22 accept; ct state established accept; }
}
"""


def _open(host: Host, port: int = 22) -> bool:
    try:
        with socket.create_connection((host.address, port), timeout=1):
            return True
    except OSError:
        return False


def test_a_fresh_host_lets_its_user_in_within_ten_seconds_and_nothing_has_failed_on_it(hosts: Begin) -> None:
    hosts()  # the root that it begins with is made once
    begun = time.monotonic()
    host = hosts()
    assert "sudo" in host.ssh("id")
    assert time.monotonic() - begun < _BOOT_SECONDS
    assert host.exec(["systemctl", "is-system-running", "--wait"]) == "running\n"
    assert host.exec(["cat", "/proc/1/comm"]) == "systemd\n"


def test_the_user_becomes_root_with_the_password_and_only_with_it(host: Host) -> None:
    assert host.ssh(f"echo {host.password} | sudo -S -p '' id -u") == "0\n"
    with pytest.raises(Refused, match="a password is required"):
        host.ssh("sudo -n id -u")


def test_ansible_reads_the_facts_with_nothing_but_the_password(host: Host, tmp_path: Path) -> None:
    play = [
        {
            "hosts": "all",
            "become": True,
            "tasks": [{"name": "Tell", "ansible.builtin.debug": {"msg": "{{ ansible_facts.distribution_version }}"}}],
        }
    ]
    known, inventory, playbook = (tmp_path / name for name in ("known_hosts", "inventory.json", "play.json"))
    known.write_text(f"{host.address} {host.host_key}\n", encoding="ascii")
    login = {
        "ansible_host": host.address,
        "ansible_user": host.user,
        "ansible_password": host.password,
        "ansible_become_password": host.password,
        "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={known}",
    }
    inventory.write_text(json.dumps({"all": {"hosts": {host.name: login}}}), encoding="utf-8")
    playbook.write_text(json.dumps(play), encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
    }
    # By its path: ssh is told to ask it for the password.
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(playbook)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"msg": "12' in done.stdout


def test_a_reboot_is_one_and_the_disk_stays(host: Host) -> None:
    host.exec(["sh", "-c", "echo kept >/var/kept; echo lost >/run/lost; nft add table inet lost"])
    told = ["cat", "/proc/sys/kernel/random/boot_id", "/etc/machine-id"]
    boot, machine = host.exec(told).split()
    host.reboot()
    another, same = host.exec(told).split()
    assert boot != another
    assert machine == same
    assert host.exec(["cat", "/var/kept"]) == "kept\n"
    assert host.exec(["ls", "/run"]).find("lost") < 0
    assert host.exec(["nft", "list", "ruleset"]) == ""
    assert host.ssh("hostname") == f"{host.name}\n"


def test_what_was_not_written_when_the_power_went_is_lost(host: Host) -> None:
    host.exec(["sh", "-c", "echo kept >/var/kept; sync /var /var/kept; echo lost >/var/lost"])
    host.lose_power()
    assert not _open(host)
    host.power_on()
    assert host.exec(["cat", "/var/kept"]) == "kept\n"
    with pytest.raises(Refused, match="No such file"):
        host.exec(["cat", "/var/lost"])


def test_a_cable_that_is_cut_says_nothing_and_may_be_mended(host: Host) -> None:
    assert _open(host)
    host.cut()
    assert not _open(host)
    host.mend()
    assert _open(host)
    assert host.ssh("echo back") == "back\n"


def test_a_host_reaches_package_registries_only_when_it_may(host: Host) -> None:
    with pytest.raises(Refused):
        host.exec(["sh", "-c", _REACHES.replace("20", "1")])
    host.online(to_be=True)
    host.exec(["sh", "-c", _REACHES])


def test_a_disk_can_be_full_and_is_not_afterwards(hosts: Begin) -> None:
    host = hosts(disk=200_000_000)
    host.fill()
    with pytest.raises(Refused, match="No space left"):
        host.exec(["dd", "if=/dev/zero", "of=/var/more", "bs=1M", "count=8"])
    host.clear()
    host.exec(["dd", "if=/dev/zero", "of=/var/more", "bs=1M", "count=8"])


def test_another_host_key_at_the_address_is_refused_by_who_knows_the_first(host: Host) -> None:
    host.change_host_key()
    with pytest.raises(Refused, match="REMOTE HOST IDENTIFICATION HAS CHANGED"):
        host.ssh("true")


def test_three_hosts_at_once_reach_each_other_and_each_drops_for_itself(hosts: Begin) -> None:
    with ThreadPoolExecutor() as pool:
        first, second, third = pool.map(lambda _: hosts(), range(3))
    serve = ["systemd-run", "--quiet", "python3", "-m", "http.server", "8000"]
    ask = f"python3 -c \"import socket; socket.create_connection(('{first.address}', 8000), 2)\""
    first.exec(serve)
    until(lambda: _open(first, 8000), "a server")
    second.ssh(ask)
    first.exec(["nft", "--file", "-"], _DROP)
    with pytest.raises(Refused, match="timed out"):
        third.ssh(ask)
    assert first.ssh("hostname") == f"{first.name}\n"
    assert second.exec(["nft", "list", "ruleset"]) == ""


def test_settings_of_the_kernel_are_the_hosts_own_and_not_the_machines(host: Host) -> None:
    mine = Path("/proc/sys/vm/swappiness").read_text(encoding="ascii")
    host.exec(["sysctl", "--write", "vm.swappiness=7", "kernel.dmesg_restrict=1", "net.ipv4.conf.all.rp_filter=1"])
    told = host.exec(["sysctl", "--values", "vm.swappiness", "kernel.dmesg_restrict", "net.ipv4.conf.all.rp_filter"])
    assert told.split() == ["7", "1", "1"]
    assert Path("/proc/sys/vm/swappiness").read_text(encoding="ascii") == mine


def test_nobody_on_a_host_has_power_over_the_machines_clock_or_modules(host: Host) -> None:
    for process in ("1", "self"):
        status = host.exec(["cat", f"/proc/{process}/status"])
        bounding = int(status.split("CapBnd:")[1].split()[0], 16)
        assert not bounding & (1 << 25 | 1 << 16)


_HOLDS = """
import sys, time
from tests.hosts.host import begin
from tests.hosts.lan import leased
with leased() as lan:
    begin(lan, "left")
    print(lan.directory, lan.group, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holding(lan: Lan) -> Iterator[subprocess.Popen[str]]:
    """A process that has a host of its own."""
    assert lan.running
    with subprocess.Popen([sys.executable, "-c", _HOLDS], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("whom", ["user", "supervisor"])
def test_nothing_is_left_of_hosts_whose_holder_was_killed(holding: subprocess.Popen[str], whom: str) -> None:
    assert holding.stdout is not None
    directory, group = (Path(one) for one in holding.stdout.readline().split())
    told = json.loads((directory / "first.json").read_text(encoding="ascii"))
    supervisor = psutil.Process(told["holder"])
    pids = [int(pid) for one in group.rglob("cgroup.procs") for pid in one.read_text(encoding="ascii").split()]
    within = [psutil.Process(pid) for pid in (told["first"], *pids)]
    assert "systemd" in {process.name() for process in within}
    victim = holding.pid if whom == "user" else supervisor.pid
    os.kill(victim, signal.SIGKILL)
    gone, alive = psutil.wait_procs([*within, supervisor] if whom == "user" else within, timeout=30)
    assert gone
    assert not alive
    if whom == "supervisor":
        # Nobody was left to clear up: whoever begins next does.
        sweep()
    until(lambda: not directory.exists() and not group.exists(), "nothing below its directory and control group")
    assert not any(
        str(directory) in line for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    )
    loops = subprocess.run(["losetup", "--list", "--output=BACK-FILE"], capture_output=True, text=True, check=True)
    assert str(directory) not in loops.stdout
