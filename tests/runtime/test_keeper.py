from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from paictl.runtime.keeper import Keeper
from tests.waiting import until

KEEPER = [sys.executable, "-m", "paictl.runtime.keeper"]
CANARY = b"canary-7f3a-of-the-vault"

# Ends the process, as a kill does, when it is about to do the Nth thing to the file system.
CRASHING = """
import os, sys
from paictl.runtime.keeper import main
left = int(sys.argv[1])
def hook(event, arguments):
    global left
    if event in {"open", "os.rename", "os.remove", "os.truncate", "os.chmod"} and str(arguments[0]) != "/proc/self/mountinfo":
        left -= 1
        if left < 0:
            os._exit(137)
sys.addaudithook(hook)
sys.exit(main(sys.argv[2:]))
"""


@dataclass(frozen=True)
class Place:
    root: Path

    def configure(self, services: dict[str, list[str]], generated: list[str]) -> None:
        for name in services:
            (self.root / "vault" / name).mkdir(mode=0o700, exist_ok=True)
        content = {"services": services, "generated": generated}
        (self.root / "config" / "keeper.json").write_text(json.dumps(content))

    def run(self, *words: str, stdin: bytes = b"", code: int = 0) -> str:
        done = subprocess.run([*KEEPER, "--root", self.root, *words], input=stdin, capture_output=True, check=False)
        assert done.returncode == code, (done.returncode, done.stderr)
        assert CANARY not in done.stdout + done.stderr
        return (done.stdout if code == 0 else done.stderr).decode()

    def put(self, name: str, fingerprint: str, value: bytes, code: int = 0) -> str:
        return self.run("put", name, fingerprint, stdin=b"%d\n%b" % (len(value), value), code=code)

    def status(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.run("status"))
        return found

    def copy(self, service: str, name: str) -> Path:
        return self.root / "vault" / service / name

    def value(self, service: str, name: str) -> bytes:
        return self.copy(service, name).read_bytes()

    def files(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def place() -> Iterator[Place]:
    # Memory, since the keeper puts nothing on a disk.
    root = Path(tempfile.mkdtemp(prefix="paictl-keeper-", dir="/dev/shm"))
    for name in ("config", "keys", "vault"):
        (root / name).mkdir()
    made = Place(root)
    made.configure({"gateway": ["token", "api"], "agent": ["token"], "chat": []}, ["token"])
    yield made
    shutil.rmtree(root)


def test_a_generated_secret_is_made_once_and_is_the_same_for_all_its_services(place: Place) -> None:
    place.run("make", "token")
    first = place.value("gateway", "token")
    place.run("make", "token")
    assert len(first) == 43
    assert first == place.value("agent", "token") == (place.root / "keys" / "token").read_bytes()
    assert not place.copy("chat", "token").exists()
    assert place.copy("agent", "token").stat().st_mode & 0o777 == 0o400
    assert place.status() == {"token": "generated"}


def test_a_declared_secret_stands_with_the_fingerprint_it_was_put_with(place: Place) -> None:
    place.put("api", "f1", CANARY)
    assert place.value("gateway", "api") == CANARY
    assert place.status() == {"api": "f1"}
    place.put("api", "f2", b"another")
    assert place.status() == {"api": "f2"}
    assert not [name for name in place.files() if name.endswith(".new")]


def test_what_was_altered_by_hand_is_told_and_made_good(place: Place) -> None:
    place.put("api", "f1", CANARY)
    place.run("make", "token")
    for service, name in (("gateway", "api"), ("agent", "token")):
        path = place.copy(service, name)
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[::-1])
    assert place.status() == {"api": "altered", "token": "altered"}
    place.put("api", "f1", CANARY)
    place.run("make", "token")
    assert place.status() == {"api": "f1", "token": "generated"}
    assert place.value("agent", "token") == place.value("gateway", "token")


def test_a_copy_that_is_missing_or_too_many_is_altered(place: Place) -> None:
    place.put("api", "f1", CANARY)
    place.configure({"gateway": ["token", "api"], "chat": ["api"]}, ["token"])
    assert place.status() == {"api": "altered"}
    place.put("api", "f1", CANARY)
    assert place.status() == {"api": "f1"}
    place.configure({"gateway": ["token"], "chat": ["api"]}, ["token"])
    assert place.status() == {"api": "altered"}
    place.put("api", "f1", CANARY)
    assert not place.copy("gateway", "api").exists()
    assert place.status() == {"api": "f1"}


def test_a_secret_that_nobody_reads_any_more_is_told_until_it_is_dropped(place: Place) -> None:
    place.put("api", "f1", CANARY)
    place.configure({"gateway": ["token"]}, ["token"])
    assert place.status() == {"api": "f1"}
    place.run("drop", "api")
    place.run("drop", "api")
    assert place.status() == {}
    assert place.files() == {"config/keeper.json"}


def test_dropping_a_generated_secret_keeps_its_original(place: Place) -> None:
    place.run("make", "token")
    first = place.value("agent", "token")
    place.run("drop", "token")
    assert place.status() == {}
    place.run("make", "token")
    assert place.value("agent", "token") == first


def test_a_lost_original_is_taken_from_what_still_stands(place: Place) -> None:
    place.run("make", "token")
    first = place.value("agent", "token")
    (place.root / "keys" / "token").unlink()
    assert place.status() == {"token": "altered"}
    place.run("make", "token")
    assert (place.root / "keys" / "token").read_bytes() == first


@pytest.mark.promise(14)
def test_a_value_that_did_not_arrive_whole_changes_nothing(place: Place) -> None:
    place.put("api", "f1", CANARY)
    for stdin in (b"", b"0\n", b"100\nhalf of it", b"no number\nvalue", b"999999999\nx"):
        place.run("put", "api", "f2", stdin=stdin, code=1)
    assert place.value("gateway", "api") == CANARY
    assert place.status() == {"api": "f1"}


@pytest.mark.promise(23)
def test_a_folder_that_is_not_in_memory_gets_no_secret(place: Place, tmp_path: Path) -> None:
    shutil.rmtree(place.root / "vault")
    (tmp_path / "vault" / "gateway").mkdir(parents=True)
    (tmp_path / "vault" / "agent").mkdir()
    (tmp_path / "vault" / "chat").mkdir()
    (place.root / "vault").symlink_to(tmp_path / "vault")
    assert "is not in memory" in place.put("api", "f1", CANARY, code=1)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_software_of_others_reads_its_files_by_its_group(place: Place) -> None:
    place.copy("gateway", "").chmod(0o2750)
    place.put("api", "f1", CANARY)
    assert place.copy("gateway", "api").stat().st_mode & 0o777 == 0o440


def test_a_wrong_word_or_name_is_refused_in_a_sentence(place: Place) -> None:
    assert place.run("put", "unknown", "f", stdin=b"1\nx", code=1) == "no service reads a declared secret `unknown`\n"
    assert place.run("put", "token", "f", stdin=b"1\nx", code=1) == "no service reads a declared secret `token`\n"
    assert place.run("make", "api", code=1) == "`api` is not generated here\n"
    assert place.run("drop", "../keys/token", code=1) == "this is no name of a secret\n"
    assert place.run("sing", code=2).startswith("usage: ")


@pytest.mark.slow
@pytest.mark.promise(14)
@pytest.mark.parametrize("again", [False, True])
def test_a_kill_at_any_point_leaves_the_old_value_or_the_new_one(place: Place, *, again: bool) -> None:
    place.configure({"gateway": ["token", "api"], "chat": ["api"]}, ["token"])
    keeper, old, new = Keeper(place.root), b"old" * 1000, b"new" * 1000
    for point in range(200):
        keeper.put("api", "old", old)
        done = _crash(place, point, "put", "api", "new", stdin=b"%d\n%b" % (len(new), new))
        if again:
            _crash(place, point // 2, "put", "api", "new", stdin=b"%d\n%b" % (len(new), new))
        values = [place.value(service, "api") for service in ("gateway", "chat")]
        assert set(values) <= {old, new}
        assert keeper.status()["api"] in {"altered", {old: "old", new: "new"}[values[0]]}
        keeper.put("api", "new", new)
        assert keeper.status() == {"api": "new"}
        assert not [name for name in place.files() if name.endswith(".new")]
        if done:
            assert point > 8
            return
    pytest.fail("it never came to its end")


@pytest.mark.slow
@pytest.mark.promise(14)
def test_a_kill_while_a_secret_is_generated_never_leaves_two_of_it(place: Place) -> None:
    keeper = Keeper(place.root)
    for point in range(200):
        done = _crash(place, point, "make", "token")
        standing = {path.read_bytes() for path in place.root.glob("*/**/token")}
        keeper.make("token")
        assert keeper.status() == {"token": "generated"}
        assert standing <= {place.value("agent", "token")}
        if done:
            return
        for path in place.root.glob("*/**/*token"):
            path.unlink()
    pytest.fail("it never came to its end")


def _crash(place: Place, point: int, *words: str, stdin: bytes = b"") -> bool:
    command = [sys.executable, "-c", CRASHING, str(point), "--root", str(place.root), *words]
    code = subprocess.run(command, input=stdin, check=False).returncode
    assert code in {0, 137}
    return code == 0


def test_two_keepers_write_one_after_the_other(place: Place) -> None:
    handle = os.open(place.root / "keys", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with subprocess.Popen([*KEEPER, "--root", place.root, "make", "token"]) as second:
            until(lambda: _waits_for_a_lock(second.pid), "the second waits for the first")
            assert place.files() == {"config/keeper.json"}
            fcntl.flock(handle, fcntl.LOCK_UN)
            assert second.wait(10) == 0
    finally:
        os.close(handle)
    assert place.status() == {"token": "generated"}


def _waits_for_a_lock(pid: int) -> bool:
    lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    return any("->" in line and str(pid) in line.split() for line in lines)


def test_holding_fills_in_what_was_generated_and_ends_when_told(place: Place) -> None:
    place.run("make", "token")
    place.put("api", "f1", CANARY)
    for path in (place.root / "vault").rglob("*"):
        if path.is_file():
            path.unlink()
    (place.root / "vault" / "gateway" / ".api.new").write_bytes(b"left by a kill")
    with _holding(place) as held:
        until(lambda: place.status() == {"token": "generated"}, "the generated secret is there again")
        assert not (place.root / "vault" / "gateway" / ".api.new").exists()
        held.send_signal(signal.SIGTERM)
        told, _ = held.communicate(timeout=10)
    assert (held.returncode, told) == (0, b"holding; generated: token\n")


def test_what_cant_be_filled_in_does_not_let_go_of_the_rest(place: Place) -> None:
    place.run("make", "token")
    shutil.rmtree(place.root / "vault" / "agent")
    with _holding(place) as held:
        assert held.stderr is not None
        assert held.stderr.readline().startswith(b"holding, but not everything is there: ")
        assert held.poll() is None
        held.send_signal(signal.SIGTERM)
        held.communicate(timeout=10)
    assert held.returncode == 0


def _holding(place: Place) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*KEEPER, "--root", place.root, "hold"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    )


def test_it_starts_with_the_standard_library_alone(place: Place) -> None:
    command = [sys.executable, "-X", "importtime", *KEEPER[1:], "--root", str(place.root), "status"]
    told = subprocess.run(command, capture_output=True, check=True).stderr.decode()
    loaded = {line.rpartition("|")[2].strip() for line in told.splitlines()}
    assert {name for name in loaded if name.startswith("paictl")} == {"paictl", "paictl.runtime"}
    assert not loaded & {"pydantic", "argparse", "hashlib", "subprocess", "shutil"}
