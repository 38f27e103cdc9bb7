"""Sets of the agent's data: what one moment means, what a set is, and what restoring refuses."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest

from paictl.runtime.backup.restoring import restore
from paictl.runtime.backup.sets import BackupError, Plan, make, newest
from paictl.runtime.backup.snapshot import snapshot
from paictl.runtime.gateway.database import connect

_KEY = pyrage.x25519.Identity.generate()


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """An agent's data: two databases with their logs not folded in, a log with its checkpoints, a secret."""
    base, secrets, to = tmp_path / "atlas", tmp_path / "secrets", tmp_path / "to"
    for folder in (base / "data/agent", base / "data/gateway", secrets, to):
        folder.mkdir(parents=True)
    _told(base / "data/agent/workflows.db", "first")
    _told(base / "data/gateway/memory.db", "Dana is my manager.")
    (base / "data/gateway/audit.jsonl").write_text("{}\n")
    (base / "data/gateway/audit.jsonl.checkpoints").write_text("{}\n")
    (secrets / "gateway-token").write_text("the token")
    recipients = [str(_KEY.to_public())]
    return Plan("atlas", base, ["data/agent", "data/gateway"], secrets, to, recipients, 2, 3600)


def _told(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as one:
        one.execute("PRAGMA journal_mode=WAL")
        one.execute("CREATE TABLE IF NOT EXISTS told (text TEXT)")
        one.execute("INSERT INTO told VALUES (?)", (text,))


def _texts(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as one:
        return [text for (text,) in one.execute("SELECT text FROM told")]


def _restored(plan: Plan, path: Path, identity: str = str(_KEY)) -> tuple[int, list[Path]]:
    with path.open("rb") as source:
        return restore(plan, source, identity)


@pytest.mark.promise(20)
def test_what_is_written_while_a_set_is_made_is_in_none_of_its_databases(plan: Plan, tmp_path: Path) -> None:
    copying = snapshot(plan.base, plan.folders, tmp_path / "copy")
    # Kept open, as an agent does: what it writes is in the log beside its file.
    with closing(sqlite3.connect(plan.base / "data/gateway/memory.db", isolation_level=None)) as gateway:
        gateway.execute("INSERT INTO told VALUES ('before')")
        first = next(copying)
        gateway.execute("INSERT INTO told VALUES ('after')")
        paths = [first.path, *(one.path for one in copying)]
    assert _texts(tmp_path / "copy/data/gateway/memory.db") == ["Dana is my manager.", "before"]
    # Who asks before who answers; databases before logs; checkpoints before the log that they speak of.
    assert paths == [
        "data/agent/workflows.db",
        "data/gateway/memory.db",
        "data/gateway/audit.jsonl.checkpoints",
        "data/gateway/audit.jsonl",
    ]


def test_vectors_come_with_the_memories_that_they_are_of(plan: Plan) -> None:
    path = plan.base / "data/gateway/vectors.db"
    with closing(connect(path, vectors=True)) as gateway:
        gateway.execute("CREATE VIRTUAL TABLE near USING vec0(embedding float[2])")
        gateway.execute("INSERT INTO near (rowid, embedding) VALUES (7, '[0.6, 0.8]'), (8, '[1, 0]')")
        made = make(plan, time.time())
    path.unlink()
    _restored(plan, made)
    with closing(connect(path, vectors=True)) as gateway:
        asked = "SELECT rowid FROM near WHERE embedding MATCH '[0.6, 0.7]' AND k = 1"
        assert gateway.execute(asked).fetchall() == [(7,)]


def test_a_set_opens_with_age_and_tar_alone(plan: Plan) -> None:
    content = pyrage.decrypt(make(plan, time.time()).read_bytes(), [_KEY])
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        names = tar.getnames()
        listing = tar.extractfile("set.json")
        assert listing
        assert [one["path"] for one in json.load(listing)["files"]] == names[1:]
    assert names[0] == "set.json"
    assert names[-1] == "secrets/gateway-token"


def test_an_ssh_key_is_a_recipient_too(plan: Plan, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    path = make(replace(plan, recipients=[key.with_suffix(".pub").read_text().strip()]), time.time())
    assert _restored(plan, path, key.read_text())[0] == 5


def test_a_set_that_could_not_be_finished_is_not_there_and_the_older_ones_are(plan: Plan) -> None:
    first = make(plan, 1_000_000_000)
    (plan.base / "data/gateway/broken.db").write_bytes(b"SQLite format 3\0")
    with pytest.raises(sqlite3.Error):
        make(plan, 1_000_003_600)
    assert [*plan.to.iterdir()] == [first]


def test_what_a_killed_run_left_is_removed_and_other_files_stay(plan: Plan) -> None:
    (plan.to / ".paictl-atlas-20260101T000000Z.tar.age").touch()
    others = [
        plan.to / name for name in ("notes.txt", "paictl-atlas-old.tar.age", "paictl-iris-20260101T000000Z.tar.age")
    ]
    for other in others:
        other.touch()
    made = [make(plan, 1_000_000_000 + hour * 3600) for hour in range(4)]
    assert {*plan.to.iterdir()} == {*others, *made[-2:]}
    assert newest(plan) == 1_000_000_000 + 3 * 3600


def test_a_place_that_is_not_mounted_and_a_recipient_that_is_none_are_said(plan: Plan) -> None:
    with pytest.raises(BackupError, match="mount its disk"):
        make(replace(plan, to=plan.to / "usb"), time.time())
    with pytest.raises(BackupError, match="age1nobody is no age recipient"):
        make(replace(plan, recipients=["age1nobody"]), time.time())


@pytest.mark.promise(20)
def test_a_set_comes_back_whole_and_what_was_there_is_kept_aside(plan: Plan) -> None:
    path = make(plan, time.time())
    _told(plan.base / "data/gateway/memory.db", "a later memory")
    assert plan.secrets
    (plan.secrets / "gateway-token").write_text("another")
    count, aside = _restored(plan, path)
    assert count == 5
    assert _texts(plan.base / "data/gateway/memory.db") == ["Dana is my manager."]
    assert (plan.secrets / "gateway-token").read_text() == "the token"
    assert (plan.secrets / "gateway-token").stat().st_mode & 0o777 == 0o400
    assert [one.name for one in aside] == ["agent", "gateway"]
    assert _texts(aside[1] / "memory.db") == ["Dana is my manager.", "a later memory"]
    assert not [*plan.base.glob(".restore-*")]


def test_a_set_of_another_or_damaged_or_not_for_us_changes_nothing(plan: Plan) -> None:
    path = make(plan, time.time())
    _told(plan.base / "data/gateway/memory.db", "a later memory")
    with pytest.raises(BackupError, match="atlas's, not iris's"):
        _restored(replace(plan, agent="iris"), path)
    with pytest.raises(BackupError, match="another identity"):
        _restored(plan, path, str(pyrage.x25519.Identity.generate()))
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    with pytest.raises(BackupError, match="damaged"):
        _restored(plan, path)
    assert _texts(plan.base / "data/gateway/memory.db") == ["Dana is my manager.", "a later memory"]
    assert not [*plan.base.glob(".restore-*")]


def test_a_set_that_somebody_else_packed_reaches_no_file_outside(plan: Plan) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../escaped"), io.BytesIO())
    path = plan.to / "set"
    path.write_bytes(pyrage.encrypt(packed.getvalue(), [_KEY.to_public()]))
    with pytest.raises(BackupError, match=r"\.\./escaped has no place"):
        _restored(plan, path)
    assert not (plan.base / "escaped").exists()


def test_the_program_makes_one_when_one_is_due_and_says_so(plan: Plan, tmp_path: Path) -> None:
    config = tmp_path / "backup.json"
    told = {"agent": "atlas", "base": str(plan.base), "folders": list(plan.folders), "to": str(plan.to)}
    config.write_text(json.dumps({**told, "recipients": list(plan.recipients), "keep": 2, "due_seconds": 3600}))
    run = [sys.executable, "-m", "paictl.runtime.backup", "--config", str(config), "make"]
    said = [subprocess.run(run, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert said[0].startswith(f"backed up to {plan.to}/paictl-atlas-")
    assert said[1].startswith("none is due: the last is of ")
    plan.to.rename(plan.to.with_name("away"))
    failed = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stderr) == (
        1,
        f"no backup: {plan.to} is not there: mount its disk, or make the directory\n",
    )
