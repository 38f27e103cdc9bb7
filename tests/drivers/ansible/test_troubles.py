"""What a person is told when a host can't be reached, or does not let paictl do its work: each brought about on a real one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from paictl.drivers.ansible.hearing import HostRun
from paictl.drivers.ansible.hosts import Hosts, Login, Passwords, nobody
from paictl.drivers.ansible.running import run
from paictl.drivers.ansible.shell import Shell
from paictl.drivers.ansible.troubles import LockedOut
from paictl.errors import Refused
from tests.drivers.ansible.stack import hosts_of
from tests.hosts import host as one
from tests.hosts.host import Host
from tests.hosts.lan import Lan

pytestmark = [pytest.mark.hosts, pytest.mark.slow]

WHOEVER = {"name": "Who", "ansible.builtin.command": "id -un", "changed_when": False}
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPHhrY+hBDJWyQjy1DYLnqzEDVHd1PKzcFX2oV8EUbOf"


@dataclass(frozen=True)
class Subject:
    """A host that may be broken, and how paictl reaches it."""

    host: Host
    reached: Hosts

    def play(self, task: Mapping[str, Any] = WHOEVER, *, hosts: Hosts | None = None) -> HostRun:
        hosts = hosts or self.reached
        hosts.close()
        try:
            return self.go_on(task, hosts)
        finally:
            hosts.close()

    def go_on(self, task: Mapping[str, Any] = WHOEVER, hosts: Hosts | None = None) -> HostRun:
        """Over the connections that are open still."""
        play = {"hosts": "agent", "become": True, "gather_facts": False, "tasks": [task]}
        return run(hosts or self.reached, [play])["pi5"]

    def by(self, change: Callable[[Login], Login]) -> Hosts:
        return replace(self.reached, logins={"pi5": change(self.reached.logins["pi5"])})


@pytest.fixture(scope="module")
def subject(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    host = one.begin(lan, f"h{secrets.token_hex(3)}", disk=one.GIGABYTE)
    found = hosts_of([host], tmp_path_factory.mktemp("hosts") / "state")
    login = found.logins[host.name]
    found.own_key(host.name).rename(found.own_key("pi5"))
    yield Subject(host, replace(found, logins={"pi5": replace(login, name="pi5")}, passwords=_of_sudo(host)))
    host.end()


def _of_sudo(host: Host) -> Passwords:
    return lambda _name, use: host.password if use == "become" else None


ELSEWHERE: list[tuple[str, Callable[[Login], Login], str, str]] = [
    ("refused", lambda login: replace(login, port=9), "takes no connections at {address}, port 9", "`port`"),
    ("nowhere", lambda login: replace(login, address="nobody.invalid"), "nobody knows the name of pi5, nobody.invalid", "`address`"),
    ("unpinned", lambda login: replace(login, host_key=""), "pi5 is not known yet: no host key of it is pinned", "`paictl lock`"),
    ("locked out", lambda login: replace(login, user="games"), "does not let games in: no key of yours opens it", "`paictl bootstrap`"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "told", "advice"), [row[1:] for row in ELSEWHERE], ids=[row[0] for row in ELSEWHERE]
)
def test_a_host_that_is_not_reached_is_away_and_says_why(
    subject: Subject, change: Callable[[Login], Login], told: str, advice: str
) -> None:
    found = subject.play(hosts=subject.by(change))
    assert told.format(address=subject.host.address) in found.unreachable
    assert advice in found.help
    assert (found.ok, found.failed) == (False, "")


def test_a_host_whose_cable_is_cut_does_not_answer(subject: Subject) -> None:
    subject.host.cut()
    try:
        found = subject.play()
    finally:
        subject.host.mend()
    assert found.unreachable == f"pi5 does not answer at {subject.host.address}"


def test_a_host_that_is_lost_while_it_is_connected_stopped_answering(subject: Subject) -> None:
    assert subject.go_on().unreachable == ""
    subject.host.cut()
    try:
        found = subject.go_on()
    finally:
        subject.host.mend()
        subject.reached.close()
    assert found.unreachable == f"pi5 stopped answering at {subject.host.address}"


@pytest.mark.parametrize("password", [False, True], ids=["by key", "by password"])
def test_another_host_key_is_never_accepted_whoever_logs_in(subject: Subject, *, password: bool) -> None:
    hosts = subject.by(lambda login: replace(login, host_key=OTHER))
    if password:
        hosts = replace(hosts, passwords=lambda *_: subject.host.password)
    found = subject.play(hosts=hosts)
    assert "pi5 shows another host key than the pinned one" in found.unreachable
    assert "SHA256:iXLYQ1l70226Lk2jvk413VUNPyMQ4ci7MhCJXMrOyfM" in found.unreachable
    assert "`paictl lock --repin pi5`" in found.help


def test_plain_ssh_says_the_same(subject: Subject) -> None:
    with pytest.raises(LockedOut, match="no key of yours opens it"):
        Shell(subject.by(lambda login: replace(login, user="games")), "pi5").run(["true"])
    with pytest.raises(Refused, match="shows another host key than the pinned one: SHA256:"):
        Shell(subject.by(lambda login: replace(login, host_key=OTHER)), "pi5").run(["true"])


def test_sudo_that_wants_a_password_or_another_one(subject: Subject) -> None:
    found = subject.play(hosts=replace(subject.reached, passwords=nobody))
    assert found.failed == "sudo of pi5 asks for the password of debian, and none is known"
    wrong = replace(subject.reached, passwords=lambda _name, use: "wrong" if use == "become" else None)
    found = subject.play(hosts=wrong)
    assert found.failed == "sudo of pi5 does not take the password of debian"
    assert "become_password" in found.help


@contextmanager
def broken(host: Host, breaks: str, mends: str) -> Iterator[None]:
    host.exec(["sh", "-ec", breaks])
    try:
        yield
    finally:
        host.exec(["sh", "-ec", mends])


FILE = {"name": "Copy", "ansible.builtin.copy": {"content": "x" * 9000, "dest": "/srv/full", "mode": "0600"}}
READ_ONLY = {"name": "Copy", "ansible.builtin.copy": {"content": "x", "dest": "/srv/ro/x", "mode": "0600"}}
BROKEN: list[tuple[str, str, str, Mapping[str, Any], str, str]] = [
    (
        "sudo refuses",
        "echo 'debian ALL=(ALL) !ALL' >/etc/sudoers.d/zz",
        "rm /etc/sudoers.d/zz",
        WHOEVER,
        "sudo of pi5 does not let debian become root",
        "usermod -aG sudo debian",
    ),
    ("no sudo", "mv /usr/bin/sudo /usr/bin/sudo.x", "mv /usr/bin/sudo.x /usr/bin/sudo", WHOEVER, "pi5 has no sudo", "`user: root`"),
    (
        "no python",
        "mv /usr/bin/python3 /usr/bin/python3.x",
        "mv /usr/bin/python3.x /usr/bin/python3",
        WHOEVER,
        "pi5 has no Python",
        "apt-get install python3",
    ),
    (
        "read-only",
        "mkdir -p /srv/ro; mount -t tmpfs -o ro none /srv/ro",
        "umount /srv/ro",
        READ_ONLY,
        "a file system of pi5 is read-only",
        "`dmesg`",
    ),
    (
        "new password wanted",
        "chage -d 0 debian",
        "chage -d 20000 debian",
        WHOEVER,
        "pi5 lets debian do nothing before a new password is set",
        "ssh debian@",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("breaks", "mends", "task", "told", "advice"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_a_host_that_does_not_work_says_what_to_mend(
    subject: Subject, breaks: str, mends: str, task: Mapping[str, Any], told: str, advice: str
) -> None:
    with broken(subject.host, breaks, mends):
        found = subject.play(task)
    assert told in found.failed
    assert advice in found.help
    assert (found.ok, found.unreachable) == (False, "")


def test_a_full_disk_is_no_host_that_is_away(subject: Subject) -> None:
    subject.host.fill()
    try:
        copied, asked = subject.play(FILE), subject.play()
    finally:
        subject.host.clear()
    assert copied.failed == "the disk of pi5 is full"
    assert "Make room" in copied.help
    assert asked.failed == "nothing can be written on pi5: its disk is full or read-only"
    assert subject.play(FILE).ok
