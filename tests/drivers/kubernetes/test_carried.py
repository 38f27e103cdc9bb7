from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paictl.drivers.kubernetes.carried import LOOK, TAKE
from tests.waiting import until

_CONTENT = os.urandom(3_000_000)


class _Volume:
    """A file that is to come into a folder, and the pod's two programs run there."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "models" / "chat" / "chat.gguf"
        self.part = self.path.with_name("chat.gguf.part")

    def command(self, program: str, size: int = len(_CONTENT)) -> list[str]:
        digest = hashlib.sha256(_CONTENT).hexdigest()
        return [sys.executable, "-I", "-c", program, str(self.path), digest, str(size)]

    def look(self, size: int = len(_CONTENT)) -> tuple[int, str]:
        done = subprocess.run(self.command(LOOK, size), capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, (done.stdout or done.stderr).strip()

    def take(self, content: bytes) -> tuple[int, str]:
        done = subprocess.run(self.command(TAKE), input=content, capture_output=True, timeout=60, check=False)
        return done.returncode, done.stderr.decode().strip()


@pytest.fixture
def volume(tmp_path: Path) -> _Volume:
    return _Volume(tmp_path)


def test_a_file_that_broke_off_goes_on_where_it_was(volume: _Volume) -> None:
    assert volume.look() == (0, "0")
    assert volume.take(_CONTENT[:1_000_001]) == (1, "the connection broke off")
    assert volume.look() == (0, "1000001")
    assert not volume.path.exists()
    assert volume.take(_CONTENT[1_000_001:]) == (0, "")
    assert volume.path.read_bytes() == _CONTENT
    assert volume.look() == (0, "whole")
    assert [one.name for one in volume.path.parent.iterdir()] == ["chat.gguf"]


def test_a_killed_writer_leaves_what_came(volume: _Volume) -> None:
    volume.look()
    with subprocess.Popen(volume.command(TAKE), stdin=subprocess.PIPE) as writing:
        assert writing.stdin is not None
        writing.stdin.write(_CONTENT[:2_500_000])
        writing.stdin.flush()
        until(lambda: volume.part.stat().st_size > 0, "the first bytes")
        writing.kill()
    done = int(volume.look()[1])
    assert 0 < done <= 2_500_000
    assert volume.take(_CONTENT[done:]) == (0, "")
    assert volume.path.read_bytes() == _CONTENT


def test_what_is_not_the_file_begins_anew(volume: _Volume) -> None:
    volume.look()
    assert volume.take(b"x" * len(_CONTENT)) == (1, "what came is not the file")
    assert volume.look() == (0, "0")
    volume.part.write_bytes(b"x" * (len(_CONTENT) + 1))
    assert volume.look() == (0, "0")
    volume.path.write_bytes(b"x" * len(_CONTENT))
    assert volume.look() == (0, "0")
    assert volume.take(_CONTENT) == (0, "")


def test_nobody_looks_while_the_writer_of_before_still_writes(volume: _Volume) -> None:
    volume.look()
    with volume.part.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        looking = subprocess.Popen(volume.command(LOOK), stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            looking.wait(0.5)
        held.write(_CONTENT[:5])
    assert looking.communicate(timeout=60)[0].strip() == "5"


def test_what_has_no_room_is_refused_before_it_is_sent(volume: _Volume) -> None:
    code, said = volume.look(size=1 << 60)
    assert code == 1
    assert "its volume has room for" in said
