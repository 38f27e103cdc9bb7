"""From a host that only a password opens to one that a key of paictl's own opens: once, and then nothing changes any more."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import host as one
from tests.hosts.bootstrapping import typing
from tests.hosts.found import differences
from tests.hosts.home import HostHome
from tests.hosts.host import Host
from tests.hosts.lan import Lan

pytestmark = [pytest.mark.hosts, pytest.mark.slow]

SECRET = "spec:\n  secrets:\n    provider: {from: env, name: PROVIDER_PASSWORD}\n"


@pytest.fixture(scope="module")
def server(lan: Lan) -> Iterator[Host]:
    host = one.begin(lan, "fresh")
    yield host
    host.end()


def home_of(server: Host, folder: Path) -> HostHome:
    home = HostHome(folder, agent="beacon", host=server)
    home.copy("vps")
    home.edit("{address: 203.0.113.7, user: debian}", f"{{address: {server.address}, user: {server.user}}}")
    home.run("lock", "--trust-host-keys")
    return home


@pytest.fixture(scope="module")
def home(server: Host, tmp_path_factory: pytest.TempPathFactory) -> HostHome:
    home = home_of(server, tmp_path_factory.mktemp("home"))
    home.edit("user: debian}", "user: debian, password: provider}")
    home.edit("spec:\n", SECRET)
    home.environment["PROVIDER_PASSWORD"] = server.password
    return home


def keys(server: Host) -> list[str]:
    """What may log in there."""
    file = f"/home/{server.user}/.ssh/authorized_keys"
    return server.exec(["sh", "-c", f"cat {file} 2>/dev/null || true"]).splitlines()


def own_keys(home: HostHome) -> list[Path]:
    return list(home.folder.rglob("*.ed25519"))


class TestFromAPasswordToAKey:
    def test_where_no_key_opens_the_host_apply_names_bootstrap(self, home: HostHome) -> None:
        told = home.run("apply", "--yes", code=1).stderr
        assert "vps1 does not let debian in: no key of yours opens it" in told
        assert "`paictl bootstrap` installs a key" in told

    def test_a_wrong_password_leaves_everything_as_it_was(self, home: HostHome, server: Host) -> None:
        home.environment["PROVIDER_PASSWORD"] = "wrong"
        told = home.run("bootstrap", code=1).stdout
        home.environment["PROVIDER_PASSWORD"] = server.password
        assert told.startswith("vps1 takes neither a key of yours nor that password of debian\n")
        assert keys(server) == []

    def test_a_key_of_its_own_is_made_installed_and_proven(self, home: HostHome, server: Host) -> None:
        # A last line without an end, as editors leave it, stays a line.
        server.exec(
            [
                "runuser",
                "-u",
                server.user,
                "--",
                "sh",
                "-c",
                "umask 077; mkdir ~/.ssh; printf '# mine' >~/.ssh/authorized_keys",
            ]
        )
        (told,) = home.json("bootstrap")["hosts"]
        assert told == {"name": "vps1", "ok": True, "key": "paictl's", "installed": True, "sudo_asks": True}
        mine, ours = keys(server)
        assert mine == "# mine"
        assert ours.startswith("ssh-ed25519 ")
        assert ours.endswith(" paictl beacon@vps")
        (key,) = own_keys(home)
        assert [stat.S_IMODE(path.stat().st_mode) for path in (key, key.parent)] == [0o600, 0o700]
        assert server.exec(["stat", "-c", "%U %a", f"/home/{server.user}/.ssh/authorized_keys"]).split() == [
            server.user,
            "600",
        ]
        assert home.steps()

    @pytest.mark.promise(2)
    def test_done_again_it_changes_nothing(self, home: HostHome) -> None:
        before, content = home.state(), own_keys(home)[0].read_bytes()
        assert "vps1: opened by a key of paictl's own" in home.run("bootstrap").stdout
        assert differences(before, home.state()) == []
        assert own_keys(home)[0].read_bytes() == content

    def test_a_key_that_was_taken_away_is_installed_again(self, home: HostHome, server: Host) -> None:
        content = own_keys(home)[0].read_bytes()
        server.exec(["sed", "-i", "/paictl/d", f"/home/{server.user}/.ssh/authorized_keys"])
        # The connection that it let in stands still; it is no proof of it.
        (told,) = home.json("bootstrap")["hosts"]
        assert told["installed"]
        assert own_keys(home)[0].read_bytes() == content


def test_on_a_terminal_the_password_is_asked_for_and_not_shown(server: Host, tmp_path: Path) -> None:
    home = home_of(server, tmp_path)
    with typing(home, "bootstrap") as terminal:
        terminal.see("vps1: the password of debian: ")
        terminal.type(f"{server.password}\n")
    assert server.password not in terminal.text
    assert "vps1: now opened by a key of paictl's own" in terminal.text
    assert "sudo asks for a password there" in terminal.text
    with typing(home, "plan") as terminal:
        terminal.see("vps1: the password that sudo asks for: ")
        terminal.type(f"{server.password}\n")
    assert "to create" in terminal.text
    # Nobody is there to ask: it is said what is missing.
    told = home.run("plan", code=1).stderr
    assert "sudo of vps1 asks for the password of debian, and none is known" in told
    assert "`become_password`" in told


def test_a_user_of_sudo_without_a_password_is_asked_for_the_logins_alone(server: Host, tmp_path: Path) -> None:
    server.exec(["sh", "-c", "echo 'debian ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/zz"])
    home = home_of(server, tmp_path)
    with typing(home, "bootstrap") as terminal:
        terminal.see("vps1: the password of debian: ")
        terminal.type(f"{server.password}\n")
    assert "sudo asks" not in terminal.text
    home.run("plan")
    server.exec(["rm", "/etc/sudoers.d/zz"])


def test_a_target_without_hosts_has_nothing_to_be_let_in_on(tmp_path: Path) -> None:
    home = HostHome(tmp_path)
    home.copy("quickstart")
    assert "has no hosts to be let in on" in home.run("bootstrap", code=2).stderr
