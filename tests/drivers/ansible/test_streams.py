"""What comes from a host as it happens: logs, health, the gateway's port, commands in a room; and the record that is kept there."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from paictl.drivers.ansible import health, ledger, logs, reaching, room
from paictl.drivers.ansible.hosts import Login
from paictl.drivers.ansible.shell import Shell
from paictl.engine import room_probe
from paictl.errors import PaictlError, Unreachable
from tests.drivers.ansible.stack import Shared, Stack, made_stack
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow]

_PORT = 8123
_CONFINED = """\
User=daemon
Environment=A=1 "B=two words"
PrivateNetwork=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=yes
PrivateUsers=yes
TemporaryFileSystem=/srv
BindReadOnlyPaths=/etc/hostname:/srv/%%name
NoNewPrivileges=yes
CapabilityBoundingSet=
RestrictAddressFamilies=AF_UNIX
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
MemoryMax=64M
LimitNOFILE=77
SetCredential=made-of:something
"""
_UNITS = {
    "web": f"ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /etc {_PORT}\nUser=daemon",
    "idle": f"ExecStart=/usr/bin/python3 -c 'import time; time.sleep(3600)'\n{_CONFINED}",
    "says": "ExecStart=/bin/sh -c 'echo one; echo two; echo ünd; read line </run/AGENT; echo $$line; sleep 3600'",
    "fails": "ExecStart=/bin/sh -c 'echo the reason; exit 3'\nRestart=always\nRestartSec=100ms",
    "ended": "ExecStart=/bin/sh -c 'echo the last word; kill -ABRT $$$$'",
    "stopped": "ExecStart=/bin/true",
}


@pytest.fixture(scope="module")
def standing(shared: Shared) -> Iterator[Stack]:
    """Units as different as services can be."""
    with made_stack([shared.host], shared.reached) as stack:
        stack.host.exec(["mkfifo", f"/run/{stack.agent}"])
        for name, body in _UNITS.items():
            text = f"[Unit]\nStartLimitIntervalSec=0\n[Service]\n{body.replace('AGENT', stack.agent)}\n"
            stack.host.exec(["sh", "-c", f"cat >/etc/systemd/system/{stack.unit(name)}"], text)
        stack.host.exec(["systemctl", "daemon-reload"])
        stack.host.exec(["systemctl", "start", "--no-block", *(stack.unit(one) for one in _UNITS if one != "stopped")])
        yield stack


@pytest.fixture
def shell(shared: Shared) -> Shell:
    return Shell(shared.reached, shared.host.name)


def _lines(stack: Stack, name: str, tail: int) -> list[str]:
    return list(logs.tail(stack.reached, stack.scope, name, tail, follow=False))


def test_logs_are_the_services_own_words_and_go_on_as_they_come(standing: Stack) -> None:
    until(lambda: len(_lines(standing, "says", 10)) == 3, "what it says at first")
    assert _lines(standing, "says", 10) == ["one", "two", "ünd"]
    assert _lines(standing, "says", 2) == ["two", "ünd"]
    assert _lines(standing, "says", 0) == []
    following = logs.tail(standing.reached, standing.scope, "says", 1, follow=True)
    assert next(following) == "ünd"
    standing.host.exec(["sh", "-c", f"echo later >/run/{standing.agent}"])
    assert list(itertools.islice(following, 1)) == ["later"]
    following.close()  # type: ignore[attr-defined]  # a generator is an iterator that can be closed
    journals = f"pgrep --full '[j]ournalctl.*{standing.agent}' || true"
    until(lambda: not standing.host.exec(["sh", "-c", journals]), "nobody follows any more", 5)


def test_a_service_that_is_nowhere_has_no_log_and_one_that_may_be_away_is_not_said_to_be_gone(standing: Stack) -> None:
    with pytest.raises(PaictlError, match=f"nobody of {standing.agent} is not running here"):
        logs.tail(standing.reached, standing.scope, "nobody", 1, follow=True)
    logins = standing.reached.logins
    away = Login("away", "127.0.0.1", "x", 9, next(iter(logins.values())).host_key)
    both = replace(standing.reached, logins={**logins, "away": away})
    assert list(logs.tail(both, standing.scope, "says", 1, follow=False))
    with pytest.raises(Unreachable, match="away takes no connections"):
        logs.tail(both, standing.scope, "nobody", 1, follow=False)


def test_health_is_what_systemd_and_the_service_say(standing: Stack, shell: Shell) -> None:
    def told(name: str, **check: str) -> tuple[str, str, bool]:
        found = health.probe(shell, standing.unit(name), check or None)
        return found.state, found.detail, found.terminal

    until(lambda: told("web", address=f"127.0.0.1:{_PORT}", path="/hostname")[0] == "healthy", "an answer")
    assert told("web", address=f"127.0.0.1:{_PORT}", path="/no")[:2] == (
        "starting",
        f"127.0.0.1:{_PORT}/no answers 404",
    )
    assert told("web", socket="/run/nowhere", path="/")[0] == "starting"
    assert told("idle") == ("healthy", "", False)
    assert told("stopped") == ("unhealthy", "it was stopped", False)
    assert told("nobody") == ("unhealthy", "its unit is gone: somebody removed it meanwhile", True)
    assert told("ended") == ("unhealthy", "it was ended by signal 6\n  the last word", True)
    known = ("unhealthy", "it ended again and again right after its start\n  the reason", True)
    # Between two ends it runs for a moment.
    until(lambda: told("fails") == known, "it keeps failing", 15)


def test_a_room_is_confined_as_its_service_is_and_leaves_nothing(standing: Stack, shell: Shell) -> None:
    agent = standing.agent
    script = (
        "id -un; ulimit -n; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status;"
        "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ';"
        "echo $A-$B; cat $CREDENTIALS_DIRECTORY/made-of; ls -d /srv/*; touch /etc/x /tmp/x && echo no"
    )
    said = room.run(shell, agent, "idle", ["sh", "-c", script])
    service = f"/proc/{standing.host.exec(['systemctl', 'show', '--property=MainPID', '--value', standing.unit('idle')]).strip()}"
    own = standing.host.exec(["grep", "-E", "^(CapBnd|NoNewPrivs|Seccomp):", f"{service}/status"])
    lines = ["daemon", "77", *own.splitlines(), "lo", "1-two words", "something/srv/%name"]
    assert said.stdout.decode().splitlines() == lines
    assert b"Read-only file system" in said.stderr
    python = room.run(
        shell, agent, "idle", ["python", "-c", "import sys; print(sys.executable, sys.argv[1:])", "$A %n"]
    )
    assert python.stdout == b"/usr/bin/python3 ['$A %n']\n"
    assert "run-paictl" not in standing.host.exec(["sh", "-c", "systemctl list-units --all; ls /run/systemd/transient"])


@pytest.mark.promise(24)
def test_the_probe_of_verify_gets_nowhere_in_a_room_that_may_make_no_socket_of_the_internets(
    standing: Stack, shell: Shell
) -> None:
    asked: dict[str, list[object]] = {key: [] for key in ("names", "doors", "strangers", "needles")}
    asked |= {"addresses": [["127.0.0.1", _PORT]], "paths": ["/etc/shadow"], "writable": ["/", "/etc"]}
    script = Path(room_probe.__file__).read_bytes()
    done = room.run(shell, standing.agent, "idle", ["python", "-I", "-", json.dumps(asked)], script)
    found = json.loads(done.stdout)
    assert found["addresses"] == {f"127.0.0.1 {_PORT}": "Address family not supported by protocol"}
    assert found["paths"] == {"/etc/shadow": False}
    assert found["writable"] == {"/": False, "/etc": False}


def test_a_command_in_a_room_has_its_bytes_and_its_end(standing: Stack, shell: Shell) -> None:
    content = os.urandom(200_000)
    assert room.run(shell, standing.agent, "idle", ["cat"], content).stdout == content
    ends = {"exit 7": 7, "exit 125": 125, "kill -KILL $$": 137}
    for script, code in ends.items():
        assert room.run(shell, standing.agent, "idle", ["sh", "-c", script]).code == code
    for absent in ("stopped", "nobody"):
        with pytest.raises(PaictlError, match=f"{absent} of {standing.agent} is not running here"):
            room.run(shell, standing.agent, absent, ["true"])


def test_a_port_of_the_hosts_loopback_is_one_of_ours_for_as_long_as_it_is_wanted(standing: Stack, shell: Shell) -> None:
    until(lambda: _opens(shell), "the server")
    with reaching.forward(shell, f"127.0.0.1:{_PORT}") as url, ThreadPoolExecutor(8) as pool:

        def read(_number: int) -> bytes:
            return httpx.get(f"{url}/hostname", timeout=20, trust_env=False).content

        assert set(pool.map(read, range(16))) == {f"{standing.host.name}\n".encode()}
    with pytest.raises(httpx.ConnectError):
        read(0)
    with pytest.raises(PaictlError, match=f"127.0.0.1:9 on {shell.name} can't be reached"):
        reaching.forward(shell, "127.0.0.1:9").__enter__()


def _opens(shell: Shell) -> bool:
    try:
        with reaching.forward(shell, f"127.0.0.1:{_PORT}"):
            return True
    except PaictlError:
        return False


@pytest.mark.promise(15)
def test_of_a_record_the_newest_whole_one_counts_and_none_is_kept_of_nothing(standing: Stack) -> None:
    hosts, scope, path = standing.reached, standing.scope, ledger.path_of(standing.scope)
    for number in (1, 2):
        ledger.save(hosts, scope, {"number": number, "resources": {"a": "ä"}})
    assert ledger.load(hosts, scope) == {"number": 2, "resources": {"a": "ä"}}
    assert standing.host.exec(["stat", "--format=%U %a", path]) == "root 600\n"
    standing.host.fill()
    try:
        with pytest.raises(PaictlError, match="can't be kept: No space left on device"):
            ledger.save(hosts, scope, {"number": 3, "resources": {"a": "ä" * 100_000}})
    finally:
        standing.host.clear()
    assert (ledger.load(hosts, scope) or {})["number"] == 2
    standing.host.exec(["sh", "-c", f"truncate --size=-9 {path}"])
    assert ledger.load(hosts, scope) is None
    ledger.save(hosts, scope, {"resources": {}})
    assert standing.host.exec(["sh", "-c", f"ls {path.rpartition('/')[0]} 2>&1 || true"]).startswith(
        "ls: cannot access"
    )
