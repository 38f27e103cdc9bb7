"""Plays on hosts: each host's own outcome, nothing that anybody else could read, and nothing left behind however they end."""

from __future__ import annotations

import json
import os
import pwd
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest

from paictl.drivers.ansible.hosts import Hosts, Login, nobody, private
from paictl.drivers.ansible.running import run
from paictl.errors import PaictlError
from paictl.events import Event
from tests.drivers.ansible.stack import Shared
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow]

WHOEVER = {"name": "Who", "ansible.builtin.command": "id -un", "changed_when": False}
WAIT = {"name": "Wait", "ansible.builtin.command": "sleep 120"}


def play(*tasks: Mapping[str, Any], become: bool = True) -> list[dict[str, Any]]:
    return [{"hosts": "agent", "become": become, "gather_facts": False, "tasks": list(tasks)}]


def rooms() -> list[Path]:
    """The directories of runs of this process."""
    return list(private("plays").glob(f"{os.getpid()}-*"))


@pytest.fixture
def reached(shared: Shared) -> Hosts:
    return shared.reached


@pytest.fixture
def name(shared: Shared) -> str:
    return shared.host.name


def test_a_host_that_is_away_leaves_the_other_ones_outcome_whole(reached: Hosts, name: str) -> None:
    away = replace(reached.logins[name], name="away", port=9)
    found = run(replace(reached, logins={**reached.logins, "away": away}), play(WHOEVER))
    assert (found[name].ok, found[name].unreachable, found[name].failed) == (True, "", "")
    assert found[name].results["Who"]["stdout"] == "root"
    assert found["away"].unreachable.startswith("away takes no connections at ")
    assert not found["away"].ok


def test_only_some_are_played_on_and_check_mode_changes_nothing(reached: Hosts, shared: Shared, name: str) -> None:
    copy = {"name": "Copy", "ansible.builtin.copy": {"content": "x", "dest": "/root/checked", "mode": "0600"}}
    other = replace(reached.logins[name], name="other", port=9)
    hosts = replace(reached, logins={**reached.logins, "other": other})
    found = run(hosts, play(copy), only=[name], check=True)
    assert list(found) == [name]
    assert found[name].results["Copy"]["changed"]
    assert shared.host.exec(["find", "/root", "-name", "checked"]) == ""


def test_what_was_rescued_has_not_failed_and_what_was_not_says_what(reached: Hosts, name: str) -> None:
    failing = {"name": "Fail", "ansible.builtin.command": "sh -c 'echo no luck >&2; exit 3'", "changed_when": False}
    rescued = {"name": "Try", "block": [failing], "rescue": [WHOEVER]}
    found = run(reached, play(rescued))[name]
    assert found.ok
    assert (found.results["Fail"]["failed"], found.results["Who"]["stdout"]) == (True, "root")
    found = run(reached, play(failing))[name]
    assert (found.ok, found.unreachable) == (False, "")
    assert found.failed == f"{name}: Fail: non-zero return code no luck"


def test_each_task_is_told_as_it_begins_and_as_it_ends(reached: Hosts, name: str) -> None:
    heard: list[Event] = []
    skipped = {**WHOEVER, "name": "Skip", "when": False}
    run(reached, play(WHOEVER, skipped), emit=heard.append)
    told = [(one.type, one.data["host"], one.data["task"], one.data["status"]) for one in heard]
    assert told == [
        ("progress", name, "Who", "begin"),
        ("progress", name, "Who", "ok"),
        ("progress", name, "Skip", "begin"),
        ("progress", name, "Skip", "skipped"),
    ]


def test_files_lie_beside_the_play_and_those_with_no_log_are_not_quoted(
    reached: Hosts, shared: Shared, name: str, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(b"\0\1large")
    copies = [
        {
            "name": f"Copy {file}",
            "ansible.builtin.copy": {"src": f"secrets/{file}", "dest": f"/root/copied-{file}", "mode": "0600"},
            "no_log": True,
        }
        for file in ("text", "large")
    ]
    files: dict[str, str | bytes | Path] = {"secrets/text": "verborgen", "secrets/large": tmp_path / "large"}
    found = run(reached, play(*copies), files=files, diff=True)[name]
    assert found.ok, found.failed
    assert shared.host.exec(["cat", "/root/copied-text"]) == "verborgen"
    assert shared.host.exec(["wc", "-c", "/root/copied-large"]).split()[0] == "7"
    assert "verborgen" not in json.dumps(found.results, default=str)


@pytest.mark.promise(23)
def test_while_it_runs_nobody_else_sees_a_secret_and_afterwards_nothing_is_left(
    reached: Hosts, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_MANIFEST", "of-the-manifest")
    seen: list[str] = []

    def look(_event: Event) -> None:
        (room,) = rooms()
        assert _kind(room) == "tmpfs"
        assert [stat.S_IMODE(path.stat().st_mode) for path in (room, room / "hosts.yaml")] == [0o700, 0o600]
        processes = [Path(f"/proc/{child.pid}") for child in psutil.Process().children(recursive=True)]
        shown = [folder / what for folder in processes for what in ("cmdline", "environ")]
        artifacts = [path for path in room.rglob("*") if path.is_file() and path.name != "hosts.yaml"]
        seen.extend(path.read_text(encoding="utf-8", errors="replace") for path in (*shown, *artifacts))

    run(reached, play(WHOEVER), emit=look)
    assert any("ansible-playbook" in one for one in seen)
    for secret in (shared.host.password, "of-the-manifest"):
        assert not any(secret in one for one in seen)
    assert rooms() == []


def _kind(path: Path) -> str:
    told = subprocess.run(["stat", "-f", "-c", "%T", path], check=True, capture_output=True, text=True)
    return told.stdout.strip()


@pytest.mark.parametrize("raised", [KeyboardInterrupt, RuntimeError])
def test_whoever_leaves_before_the_end_leaves_no_ansible_behind(reached: Hosts, raised: type[BaseException]) -> None:
    begun: list[int] = []

    def leave(_event: Event) -> None:
        begun.extend(child.pid for child in psutil.Process().children(recursive=True))
        raise raised

    with pytest.raises(raised):
        run(reached, play(WAIT), emit=leave)
    assert begun
    until(lambda: not any(_runs(pid) for pid in begun), "the end of Ansible and its workers")
    assert rooms() == []


def _runs(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        # What is kept open for the next run is ssh's own, and ends by itself.
        return process.status() != psutil.STATUS_ZOMBIE and "[mux]" not in " ".join(process.cmdline())
    except psutil.Error:
        return False


_KILLED = """
import json, sys
from pathlib import Path
from paictl.drivers.ansible.hosts import Hosts, Login
from paictl.drivers.ansible.running import run
login, password, state, plays = json.loads(sys.argv[1]), sys.stdin.readline().strip(), Path(sys.argv[2]), json.loads(sys.argv[3])
hosts = Hosts({login["name"]: Login(**login)}, lambda _, use: password if use == "become" else None, state)
run(hosts, plays, emit=lambda event: print(json.dumps(event.data), flush=True))
"""


def test_a_paictl_that_is_killed_takes_its_ansible_with_it_and_the_next_one_sweeps(
    reached: Hosts, shared: Shared
) -> None:
    login = reached.logins[shared.host.name]
    told = json.dumps({key: getattr(login, key) for key in ("name", "address", "user", "port", "host_key")})
    argv = [sys.executable, "-c", _KILLED, told, str(reached.state), json.dumps(play(WAIT))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdin is not None
        assert killed.stdout is not None
        killed.stdin.write(f"{shared.host.password}\n")
        killed.stdin.flush()
        assert json.loads(killed.stdout.readline())["task"] == "Wait"
        until(lambda: "sleep 120" in shared.host.exec(["ps", "-eo", "args"]), "the task on the host")
        begun = [child.pid for child in psutil.Process(killed.pid).children(recursive=True)]
        killed.send_signal(signal.SIGKILL)
    until(lambda: not any(_runs(pid) for pid in begun), "the end of Ansible and its workers")
    assert list(private("plays").glob(f"{killed.pid}-*"))
    run(reached, play(WHOEVER))
    assert not list(private("plays").glob(f"{killed.pid}-*"))


@pytest.fixture(params=["a{{ b }}\"'\\$(id) #: ü", "0815", "true"], ids=["signs", "digits", "truth"])
def awkward(shared: Shared, request: pytest.FixtureRequest) -> Iterator[str]:
    """A password that templates, shells and YAML would each read as something else."""
    password: str = request.param
    shared.host.exec(["chpasswd"], f"{shared.host.user}:{password}\n")
    yield password
    shared.host.exec(["chpasswd"], f"{shared.host.user}:{shared.host.password}\n")


def test_a_password_is_taken_as_it_is(reached: Hosts, name: str, awkward: str) -> None:
    hosts = replace(reached, passwords=lambda _host, use: awkward if use == "become" else None)
    found = run(hosts, play(WHOEVER))[name]
    assert found.ok, found.failed


def test_sudos_password_is_asked_for_once_it_turns_out_to_be_wanted(reached: Hosts, shared: Shared, name: str) -> None:
    asked: list[str] = []

    def passwords(_host: str, use: Literal["login", "become", "asked"]) -> str | None:
        if use == "asked":
            asked.append(shared.host.password)
        return None if use == "login" or not asked else asked[0]

    hosts = replace(reached, passwords=passwords)
    assert run(hosts, play(WHOEVER))[name].results["Who"]["stdout"] == "root"
    assert run(hosts, play(WHOEVER))[name].ok
    assert len(asked) == 1


def test_plays_that_ansible_can_make_nothing_of_are_an_error_with_its_words(reached: Hosts) -> None:
    with pytest.raises(PaictlError, match=r"ansible-playbook ended with 4: .*nobodys\.module"):
        run(reached, play({"name": "No", "nobodys.module": {}}))
    assert rooms() == []


def test_this_machine_needs_no_ssh(tmp_path: Path) -> None:
    hosts = Hosts({"localhost": Login("localhost", local=True)}, nobody, tmp_path / "state")
    found = run(hosts, play(WHOEVER, become=False))["localhost"]
    assert found.results["Who"]["stdout"] == pwd.getpwuid(os.getuid()).pw_name


def test_no_hosts_are_no_run() -> None:
    hosts = Hosts({}, lambda *_: None, Path("/nowhere"))
    plays: Sequence[Mapping[str, Any]] = play(WHOEVER)
    assert run(hosts, plays) == {}
