"""The role `backup` on real hosts: a set is made while the agent writes, opens with its identity only, and comes back elsewhere."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from paictl.render.source import runtime_source
from tests.hosts import host as one
from tests.hosts.host import Host
from tests.hosts.lan import Lan, Refused
from tests.hosts.playing import changed, play, put
from tests.waiting import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]

_CODE = "/opt/paictl/runtime/tried"
_DATA = "/var/lib/paictl/atlas/data"
_UNIT = "paictl-atlas-backup"
# What the gateway was told, then what the agent notes as done, then the log: each a little later than the one before.
_AGENT = """
import json, pathlib, sqlite3, time
base = pathlib.Path("/var/lib/paictl/atlas/data")
def opened(name):
    one = sqlite3.connect(base / name, isolation_level=None)
    one.execute("PRAGMA journal_mode=WAL")
    one.execute("CREATE TABLE IF NOT EXISTS told (number INTEGER PRIMARY KEY, text TEXT)")
    return one
gateway, agent = opened("gateway/memory.db"), opened("agent/workflows.db")
(base / "gateway/identity.key").write_text("the key of this agent")
number = (gateway.execute("SELECT max(number) FROM told").fetchone()[0] or 0)
while True:
    number += 1
    gateway.execute("INSERT INTO told VALUES (?, ?)", (number, "Dana is my manager. " * 40))
    agent.execute("INSERT INTO told VALUES (?, ?)", (number, ""))
    with open(base / "gateway/audit.jsonl", "a") as log:
        log.write(json.dumps({"number": number}) + "\\n")
    time.sleep(0.001)
"""
_SERVICE = f"""
[Unit]
PartOf=paictl-atlas.target
[Service]
User=paictl-atlas
ExecStart=/usr/bin/python3 {_CODE}/agent.py
"""
_TARGET = "[Unit]\nWants=paictl-atlas-agent.service\n"


@dataclass(frozen=True)
class _Agent:
    """A host with an agent's data on it, and somebody who can open its backups."""

    host: Host
    identity: Path
    variables: Mapping[str, object]


def _settle(host: Host) -> None:
    """What the role `runtime` leaves behind, as far as `backup` cares: a user, a build, directories, secrets and a target."""
    pyrage_files = {
        f"source/pyrage/{path.name}": path.read_bytes()
        for path in Path(pyrage.__file__).parent.iterdir()
        if path.suffix in {".py", ".so"}
    }
    source = {path: text.encode() for path, text in runtime_source().items() if path.startswith("source/")}
    put(host, {**source, **pyrage_files, "agent.py": _AGENT.encode()}, _CODE)
    units = {"paictl-atlas-agent.service": _SERVICE.encode(), "paictl-atlas.target": _TARGET.encode()}
    put(host, units, "/etc/systemd/system")
    script = f"""
    useradd --system --no-create-home paictl-atlas
    mkdir -p {_CODE}/venv/bin && ln -s /usr/bin/python3 {_CODE}/venv/bin/python
    install -d -m 700 /etc/paictl/atlas /etc/paictl/atlas/secrets
    (umask 077; head -c 16 /dev/urandom | base64 >/etc/paictl/atlas/secrets/gateway-token)
    install -d -o paictl-atlas -g paictl-atlas -m 700 {_DATA}/agent {_DATA}/gateway
    systemctl daemon-reload
    systemctl start paictl-atlas.target
    """
    host.exec(["sh", "-ec", script])


@pytest.fixture(scope="module")
def atlas(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Agent]:
    """One host on which the agent writes, with its backup set up."""
    host = one.begin(lan, "backup1")
    _settle(host)
    key = pyrage.x25519.Identity.generate()
    identity = tmp_path_factory.mktemp("identity") / "age.key"
    identity.write_text(f"# made for a test\n{key}\n", encoding="ascii")
    variables = {
        "backup_agent": "atlas",
        "backup_user": "paictl-atlas",
        "backup_code": _CODE,
        "backup_to": "/srv/backup/atlas",
        "backup_secrets": ["gateway-token"],
        "backup_recipients": [str(key.to_public())],
        "backup_keep": 2,
        "backup_due_seconds": 0,
    }
    assert "Install the unit and its timer" in changed(play(host, "backup", variables))
    yield _Agent(host, identity, variables)
    host.end()


def _make(host: Host) -> str:
    """Make a set as the timer does; its name."""
    host.exec(["systemctl", "start", f"{_UNIT}.service"])
    return host.exec(["sh", "-c", "ls /srv/backup/atlas | tail -n 1"]).strip()


def _fetched(host: Host, name: str, to: Path) -> Path:
    path = to / name
    packed = host.exec(["base64", f"/srv/backup/atlas/{name}"])
    path.write_bytes(subprocess.run(["base64", "-d"], input=packed.encode(), capture_output=True, check=True).stdout)
    return path


def _opened(path: Path, identity: Path, to: Path) -> dict[str, bytes]:
    key = pyrage.x25519.Identity.from_str(identity.read_text(encoding="ascii").splitlines()[-1])
    with tarfile.open(fileobj=io.BytesIO(pyrage.decrypt(path.read_bytes(), [key]))) as tar:
        found = {one.name: tar.extractfile(one) for one in tar}
        contents = {name: file.read() for name, file in found.items() if file}
    for name, content in contents.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(content)
    return contents


def _numbers(path: Path) -> int:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    (highest,) = connection.execute("SELECT max(number) FROM told").fetchone()
    connection.close()
    return int(highest)


def test_the_role_changes_nothing_the_second_time_nor_in_check_mode(atlas: _Agent) -> None:
    assert changed(play(atlas.host, "backup", atlas.variables)) == []
    assert changed(play(atlas.host, "backup", atlas.variables, check=True)) == []
    assert atlas.host.exec(["systemctl", "is-active", f"{_UNIT}.timer"]) == "active\n"


def test_the_unit_is_as_hardened_as_the_agent_itself(atlas: _Agent) -> None:
    atlas.host.exec(["systemd-analyze", "security", "--threshold=10", "--no-pager", f"{_UNIT}.service"])
    atlas.host.exec(["systemd-analyze", "verify", f"/etc/systemd/system/{_UNIT}.timer"])


@pytest.mark.promise(20)
def test_a_set_made_while_the_agent_writes_is_one_moment(atlas: _Agent, tmp_path: Path) -> None:
    until(lambda: "gateway/audit.jsonl" in atlas.host.exec(["find", _DATA, "-printf", "%P\n"]), "the agent writes")
    before = json.loads(atlas.host.exec(["tail", "-n", "1", f"{_DATA}/gateway/audit.jsonl"]))["number"]
    contents = _opened(_fetched(atlas.host, _make(atlas.host), tmp_path), atlas.identity, tmp_path)
    done, told = _numbers(tmp_path / "data/agent/workflows.db"), _numbers(tmp_path / "data/gateway/memory.db")
    logged = [json.loads(line)["number"] for line in contents["data/gateway/audit.jsonl"].splitlines()[:-1]]
    # Nothing is known as done of which the gateway was never told, and the log goes on further than either.
    assert before <= done <= told
    assert logged[-1] >= done
    assert contents["data/gateway/identity.key"] == b"the key of this agent"
    assert (
        contents["secrets/gateway-token"]
        == atlas.host.exec(["cat", "/etc/paictl/atlas/secrets/gateway-token"]).encode()
    )
    listing = json.loads(contents["set.json"])
    assert {file["path"] for file in listing["files"]} | {"set.json"} == set(contents)
    assert not any(name.endswith(("-wal", "-shm")) for name in contents)


def test_no_other_identity_opens_a_set_and_its_text_is_nowhere_in_it(atlas: _Agent, tmp_path: Path) -> None:
    path = _fetched(atlas.host, _make(atlas.host), tmp_path)
    assert b"Dana" not in path.read_bytes()
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(path.read_bytes(), [pyrage.x25519.Identity.generate()])


def test_as_many_sets_stay_as_are_to_be_kept(atlas: _Agent) -> None:
    made = []
    for _ in range(3):
        made.append(_make(atlas.host))
        until(lambda: atlas.host.exec(["date", "-u", "+%Y%m%dT%H%M%SZ"]).strip() not in made[-1], "another second")
    stand = atlas.host.exec(["ls", "-A", "/srv/backup/atlas"]).split()
    assert stand == made[-2:]


def test_a_backup_that_fails_is_a_failed_unit_with_a_sentence_and_leaves_nothing_torn(atlas: _Agent) -> None:
    before = atlas.host.exec(["ls", "-A", "/srv/backup/atlas"])
    atlas.host.exec(
        [
            "sh",
            "-ec",
            f"cp /etc/passwd {_DATA}/gateway/broken.db; printf 'SQLite format 3\\000' >{_DATA}/gateway/broken.db",
        ]
    )
    atlas.host.exec(["chown", "paictl-atlas", f"{_DATA}/gateway/broken.db"])
    try:
        with pytest.raises(Refused):
            _make(atlas.host)
        assert atlas.host.exec(["systemctl", "show", "-PResult", f"{_UNIT}.service"]) == "exit-code\n"
        assert "no backup: file is not a database" in atlas.host.exec(
            ["journalctl", "-q", "-u", f"{_UNIT}.service", "-n", "5"]
        )
        assert atlas.host.exec(["ls", "-A", "/srv/backup/atlas"]) == before
    finally:
        atlas.host.exec(["rm", f"{_DATA}/gateway/broken.db"])
    # The role tries again, and waits for nothing.
    assert changed(play(atlas.host, "backup", atlas.variables)) == ["Try again what failed, without waiting for it"]
    until(lambda: atlas.host.exec(["ls", "-A", "/srv/backup/atlas"]) != before, "another set")
    _make(atlas.host)
    assert atlas.host.exec(["systemctl", "show", "-PResult", f"{_UNIT}.service"]) == "success\n"


@pytest.mark.promise(20)
def test_a_set_brings_the_memory_back_on_another_host(atlas: _Agent, lan: Lan, tmp_path: Path) -> None:
    path = _fetched(atlas.host, _make(atlas.host), tmp_path)
    contents = _opened(path, atlas.identity, tmp_path / "opened")
    told = _numbers(tmp_path / "opened/data/gateway/memory.db")
    other = one.begin(lan, "backup2")
    try:
        _settle(other)
        assert changed(play(other, "backup", atlas.variables))
        other.exec(["sh", "-ec", f"systemctl stop paictl-atlas.target; rm -r {_DATA}/*/*"])
        variables = {"backup_agent": "atlas", "backup_set": str(path), "backup_identity": str(atlas.identity)}
        assert changed(play(other, "backup", variables, tasks="restore"))
        assert other.exec(["systemctl", "is-active", "paictl-atlas-agent.service"]) == "active\n"
        ask = [
            "import sqlite3, sys",
            "asked = sqlite3.connect(sys.argv[1]).execute('SELECT text FROM told WHERE number = ?', sys.argv[2:])",
            "print(asked.fetchone()[0][:19])",
        ]
        assert (
            other.exec(["python3", "-c", "\n".join(ask), f"{_DATA}/gateway/memory.db", str(told)])
            == "Dana is my manager.\n"
        )
        assert (
            other.exec(["cat", "/etc/paictl/atlas/secrets/gateway-token"]).encode() == contents["secrets/gateway-token"]
        )
        assert other.exec(["stat", "-c", "%U %a", f"{_DATA}/gateway", "/etc/paictl/atlas/secrets/gateway-token"]) == (
            "paictl-atlas 700\nroot 400\n"
        )
        # Nothing of the set or of the identity is left there.
        assert other.exec(["sh", "-c", "find /var/lib/paictl/atlas -name '.set-*' -o -name '.restore-*'"]) == ""
        _refused_when_damaged(other, variables, path, tmp_path)
    finally:
        other.end()


def _refused_when_damaged(host: Host, variables: Mapping[str, object], path: Path, to: Path) -> None:
    """A set with one wrong byte changes nothing, and the agent runs on."""
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (to / "damaged").write_bytes(damaged)
    before = host.exec(["ls", "/var/lib/paictl/atlas/data"])
    assert not play(host, "backup", {**variables, "backup_set": str(to / "damaged")}, tasks="restore").ok
    assert host.exec(["ls", "/var/lib/paictl/atlas/data"]) == before
    assert host.exec(["systemctl", "is-active", "paictl-atlas-agent.service"]) == "active\n"


def test_what_was_missed_while_the_machine_was_off_is_made_up_for(atlas: _Agent) -> None:
    told = atlas.host.exec(
        ["systemctl", "show", f"{_UNIT}.timer", "-PPersistent", "-PFixedRandomDelay", "-PRandomizedDelayUSec"]
    )
    assert sorted(told.split()) == ["1h", "yes", "yes"]


def test_removing_the_role_leaves_the_sets(atlas: _Agent) -> None:
    before = atlas.host.exec(["ls", "-A", "/srv/backup/atlas"])
    assert changed(play(atlas.host, "backup", atlas.variables, tasks="remove"))
    with pytest.raises(Refused):
        atlas.host.exec(["systemctl", "is-active", f"{_UNIT}.timer"])
    assert atlas.host.exec(["ls", "-A", "/srv/backup/atlas"]) == before
    assert changed(play(atlas.host, "backup", atlas.variables, tasks="remove")) == []
