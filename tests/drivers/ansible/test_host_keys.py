"""A host's key: asked for at the first contact, pinned in agent.lock, and never replaced but by a person who has compared it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from paictl.drivers.ansible.fingerprints import fingerprint
from paictl.drivers.ansible.host_keys import shown_key
from paictl.drivers.ansible.hosts import Login
from paictl.errors import PaictlError, Unreachable
from paictl.manifest.lockfile import read_lock
from tests.hosts import host as one
from tests.hosts.bootstrapping import typing
from tests.hosts.home import HostHome
from tests.hosts.lan import Lan

on_hosts = [pytest.mark.hosts, pytest.mark.slow]


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_fingerprint_is_the_one_that_ssh_keygen_prints(kind: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(key)], check=True)
    told = subprocess.run(["ssh-keygen", "-lf", str(key)], check=True, capture_output=True, text=True)
    assert fingerprint(Path(f"{key}.pub").read_text(encoding="ascii")) == told.stdout.split()[1]


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 no base64"])
def test_what_is_no_key_has_no_fingerprint(text: str) -> None:
    with pytest.raises(PaictlError, match="is no host key"):
        fingerprint(text)


@pytest.fixture(scope="module")
def home(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostHome]:
    server = one.begin(lan, "keyed")
    home = HostHome(tmp_path_factory.mktemp("home"), agent="beacon", host=server)
    home.copy("vps")
    login = f"{{address: {server.address}, user: {server.user}, password: provider}}"
    home.edit("{address: 203.0.113.7, user: debian}", login)
    home.edit("spec:\n", "spec:\n  secrets:\n    provider: {from: env, name: PROVIDER_PASSWORD}\n")
    home.environment["PROVIDER_PASSWORD"] = server.password
    yield home
    server.end()


def pinned(home: HostHome) -> list[str]:
    lock = read_lock(home.manifest.with_name("agent.lock"))
    return [host.key for target in lock.targets.values() for host in target.hosts.values()]


@pytest.mark.hosts
@pytest.mark.slow
class TestFromTheFirstContact:
    def test_nobody_to_ask_is_no_consent_and_yes_is_no_word_about_keys(self, home: HostHome) -> None:
        for words in (["lock"], ["apply", "--yes"], ["bootstrap", "--yes"]):
            told = home.run(*words, code=4).stderr
            assert fingerprint(home.there.host_key) in told
            assert "--trust-host-keys" in told
        assert pinned(home) == []
        assert "is not known yet: no host key of it is pinned" in home.run("plan", code=1).stderr
        assert home.run("lock", "--check", code=3).stdout.count("not pinned yet") == 1

    def test_a_no_pins_nothing_and_a_yes_pins_what_was_shown(self, home: HostHome) -> None:
        with typing(home, "lock", code=4) as terminal:
            terminal.see("Is it that one? [y/N]")
            terminal.type("n\n")
        assert pinned(home) == []
        with typing(home, "lock") as terminal:
            assert fingerprint(home.there.host_key) in terminal.see("Is it that one? [y/N]")
            terminal.type("y\n")
        assert pinned(home) == [home.there.host_key]
        assert "not pinned" not in home.run("lock", "--check").stdout

    @pytest.mark.promise(13)
    def test_another_key_is_refused_with_both_fingerprints_until_a_person_pins_it(self, home: HostHome) -> None:
        old = home.there.host_key
        home.run("bootstrap")
        home.run("plan")
        home.there.change_host_key()
        # A connection that stands was made with the key that is pinned.
        home.there.exec(["pkill", "-f", "^sshd: debian"])
        told = home.run("plan", code=1).stderr
        new = " ".join(home.there.exec(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).split()[:2])
        assert fingerprint(new) in told
        assert fingerprint(old) in told
        home.run("apply", "--yes", "--trust-host-keys", code=4)
        told = home.run("lock", "--repin", "vps1", "--trust-host-keys", code=4).stderr
        assert "Then run `paictl lock --repin vps1` on a terminal." in told
        assert pinned(home) == [old]
        with typing(home, "lock", "--repin", "vps1") as terminal:
            assert f"and not {fingerprint(old)} as before" in terminal.see("Is it that one? [y/N]")
            terminal.type("y\n")
        assert pinned(home) == [new]
        home.run("plan")

    def test_what_is_shown_is_asked_without_logging_in(self, home: HostHome) -> None:
        login = Login("box", home.there.address, "nobody")
        assert shown_key(login).startswith("ssh-ed25519 ")
        with pytest.raises(Unreachable, match="box takes no connections"):
            shown_key(Login("box", home.there.address, "nobody", 9))
