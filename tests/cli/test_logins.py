"""How hosts are logged in to: by what the manifest says, the lock pins and secrets hold; those taken out for as long as needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paictl import places
from paictl.cli.console.terminal import Terminal
from paictl.cli.logins import Asked, FirstLogin, Pinning, hosts_of, pin
from paictl.drivers.ansible.hosts import Hosts, Login
from paictl.engine.model import Address, Resource
from paictl.engine.outcome import Release
from paictl.engine.points import pass_by
from paictl.engine.releases import Releases
from paictl.errors import Refused, UsageError
from paictl.manifest.load import Manifest, load
from paictl.manifest.lock import LockedHost, LockedTarget
from paictl.manifest.lockfile import Lock, read_lock, write_lock

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPHhrY+hBDJWyQjy1DYLnqzEDVHd1PKzcFX2oV8EUbOf"
MANIFEST = """\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {{name: atlas, owner: alice}}
spec:
  instructions: Be brief.
  secrets:
    login: {{from: env, name: LOGIN}}
    root: {{from: env, name: ROOT}}
  targets:
    home: {{driver: ansible, hosts: {hosts}}}
  models:
    chat: {{task: chat, manage: external, url: "http://127.0.0.1:9/v1", model: tiny}}
"""
TERMINAL = Terminal(output="json")


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAICTL_STATE_DIR", str(tmp_path / "state"))


def manifest(folder: Path, hosts: str) -> Manifest:
    file = folder / "agent.yaml"
    file.write_text(MANIFEST.format(hosts=hosts), encoding="utf-8")
    return load([file], env={})


def locked(folder: Path, **hosts: LockedHost) -> None:
    write_lock(folder / "agent.lock", Lock({"home": LockedTarget(hosts=hosts)}))


def stands_on(*hosts: str) -> None:
    """A release that has put something on each of them."""
    resources = tuple(Resource(Address("home", "ansible", "base", host), {}, place=host) for host in hosts)
    folder = places.state_home() / "atlas" / "home" / "releases"
    folder.mkdir(parents=True, exist_ok=True)
    release = Release(
        number=1, driver="ansible", when="", who="", verb="apply", resources=resources, manifest="", lock="", runtime={}
    )
    Releases(folder, "home").write(release, pass_by)


def told(asked: Manifest) -> Hosts:
    return hosts_of(asked, Asked(TERMINAL, asked))


def test_the_manifest_says_how_and_the_lock_whose_key_it_is(tmp_path: Path) -> None:
    locked(tmp_path, pi5=LockedHost(KEY, "192.0.2.1"))
    hosts = told(manifest(tmp_path, "{pi5: {address: pi5.local, user: pi, port: 2222}, pi4: {address: pi4.local}}"))
    assert hosts.logins == {"pi5": Login("pi5", "pi5.local", "pi", 2222, KEY), "pi4": Login("pi4", "pi4.local")}
    assert hosts.state == places.state_home() / "atlas" / "home" / "hosts"


def test_no_hosts_are_this_machine(tmp_path: Path) -> None:
    assert told(manifest(tmp_path, "{}")).logins == {"localhost": Login("localhost", local=True)}


def test_a_host_that_was_taken_out_is_reached_while_something_stands_there(tmp_path: Path) -> None:
    old = LockedHost(KEY, "192.0.2.1", "pi", 2222)
    locked(tmp_path, pi5=LockedHost(KEY, "192.0.2.5"), old=old)
    asked = manifest(tmp_path, "{pi5: {address: 192.0.2.5}}")
    assert list(told(asked).logins) == ["pi5"]
    stands_on("pi5", "old", "localhost")
    assert told(asked).logins["old"] == Login("old", "192.0.2.1", "pi", 2222, KEY)
    assert told(asked).logins["localhost"].local


def test_pinning_keeps_what_stands_and_lets_go_of_what_does_not(tmp_path: Path) -> None:
    known = {
        "pi5": LockedHost(KEY, "192.0.2.4"),
        "old": LockedHost(KEY, "192.0.2.1"),
        "older": LockedHost(KEY, "192.0.2.2"),
    }
    locked(tmp_path, **known)
    stands_on("pi5", "old")
    asked = manifest(tmp_path, "{pi5: {address: 192.0.2.5, user: pi}}")
    pin(asked, TERMINAL, Pinning())
    kept = {"pi5": replace(known["pi5"], address="192.0.2.5", user="pi"), "old": known["old"]}
    assert read_lock(tmp_path / "agent.lock").targets["home"].hosts == kept
    pin(asked, TERMINAL, Pinning(forget=["old"]))
    assert list(read_lock(tmp_path / "agent.lock").targets["home"].hosts) == ["pi5"]
    assert list(told(asked).logins) == ["pi5"]


def test_what_there_is_not_can_be_neither_forgotten_nor_pinned_again(tmp_path: Path) -> None:
    locked(tmp_path, pi5=LockedHost(KEY, "192.0.2.5"))
    asked = manifest(tmp_path, "{pi5: {address: 192.0.2.5}}")
    with pytest.raises(UsageError, match="--forget: there is no host 'pi5'"):
        pin(asked, TERMINAL, Pinning(forget=["pi5"]))
    with pytest.raises(UsageError, match="--repin: there is no host 'old'"):
        pin(asked, TERMINAL, Pinning(again=["old"]))
    with pytest.raises(Refused, match="does not say which key pi4 has"):
        pin(manifest(tmp_path, "{pi4: {address: 192.0.2.4}}"), TERMINAL, Pinning(locked=True))


def test_passwords_come_from_the_secrets_that_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGIN", "opens")
    monkeypatch.setenv("ROOT", "becomes")
    asked = Asked(
        TERMINAL,
        manifest(
            tmp_path,
            "{a: {address: a, password: login, become_password: root}, b: {address: b, password: login}, c: {address: c}}",
        ),
    )
    # A key opens every host but at the first time.
    assert [asked(host, "login") for host in "abc"] == [None, None, None]
    assert [FirstLogin(asked)(host, "login") for host in "abc"] == ["opens", "opens", None]
    for use in ("become", "asked"):
        assert [asked(host, use) for host in "abc"] == ["becomes", "opens", None]


def test_a_password_of_a_host_is_a_declared_secret(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        manifest(tmp_path, "{a: {address: a, password: nobody, become_password: nothing}}")
    assert [one.summary for one in raised.value.diagnostics] == [
        "there is no secret `nobody`",
        "there is no secret `nothing`",
    ]
