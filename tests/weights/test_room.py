"""A disk without room: told before, or on the way, with everything that stood there unchanged."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from paictl.weights.cache import Cache, place
from paictl.weights.failures import NoSpace
from paictl.weights.fetch import fetch, obtain
from paictl.weights.resolve import Resolved
from paictl.weights.sources import parse
from tests.weights.servers import Site

_MODEL = random.Random(9).randbytes(6_000_000)
_SHA256 = hashlib.sha256(_MODEL).hexdigest()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_too_small_a_disk_is_told_before_anything_travels(site: Site, small_disk: Path) -> None:
    url = site.add("/model.gguf", _MODEL)
    with pytest.raises(NoSpace, match=r"needs 6\.0 MB more, but its disk has \d\.\d MB free"):
        fetch(Resolved(parse(url), url, len(_MODEL), _SHA256), Cache(small_disk))
    assert not site.requests


def test_a_disk_that_fills_up_on_the_way_is_left_as_it_was(
    site: Site, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = obtain(parse(site.add("/old.gguf", b"old")), hashlib.sha256(b"old").hexdigest(), Cache(small_disk))
    free = shutil.disk_usage(small_disk).free
    url = site.add("/model.gguf", _MODEL)
    # Somebody else takes the room between the check and the writing.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, 10**9))
    with pytest.raises(NoSpace, match="is full"):
        fetch(Resolved(parse(url), url, len(_MODEL), _SHA256), Cache(small_disk))
    monkeypatch.undo()
    assert old.read_bytes() == b"old"
    assert shutil.disk_usage(small_disk).free >= free - 65536
    assert not list((small_disk / "parts").iterdir())


_LIMITED = """
import sys
from pathlib import Path
from paictl.weights.cache import Cache
from paictl.weights.failures import NoSpace
from paictl.weights.fetch import fetch
from paictl.weights.resolve import Resolved
from paictl.weights.sources import parse
try:
    fetch(Resolved(parse(sys.argv[1]), sys.argv[1], int(sys.argv[2]), sys.argv[3]), Cache(Path(sys.argv[4])))
except NoSpace as error:
    print(error.summary)
"""


def test_a_limit_on_the_size_of_files_is_a_full_disk_too(site: Site, cache: Cache) -> None:
    url = site.add("/model.gguf", _MODEL)
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, url, str(len(_MODEL)), _SHA256, str(cache.root)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)),
    )
    assert "is full (File too large)" in done.stdout
    assert not list((cache.root / "parts").iterdir())


def test_placing_onto_another_disk_copies(site: Site, cache: Cache, small_disk: Path) -> None:
    content = _MODEL[:1_000_000]
    digest = hashlib.sha256(content).hexdigest()
    cached = obtain(parse(site.add("/model.gguf", content)), digest, cache)
    placed = place(cached, small_disk / "models" / "model.gguf", digest)
    assert not placed.samefile(cached)
    assert placed.read_bytes() == content
    assert placed.stat().st_mode & 0o222 == 0


def test_placing_where_there_is_no_room_leaves_what_stood_there(site: Site, cache: Cache, small_disk: Path) -> None:
    cached = obtain(parse(site.add("/model.gguf", _MODEL)), _SHA256, cache)
    target = small_disk / "model.gguf"
    target.write_bytes(b"old")
    with pytest.raises(NoSpace):
        place(cached, target, _SHA256)
    assert target.read_bytes() == b"old"
    assert os.listdir(small_disk) == ["model.gguf"]  # noqa: PTH208 - hidden ones count, too
