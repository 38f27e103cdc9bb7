from __future__ import annotations

import os
from pathlib import Path

import pytest

from paictl.errors import ManifestError
from paictl.manifest.lock import Embedding, LockedFile, LockedImage, LockedModel, LockedRuntime, LockedTarget
from paictl.manifest.lockfile import Lock, diff_locks, read_lock, write_lock

_CHAT = LockedModel(
    weights=LockedFile("hf://a/b/c.gguf", "0" * 64, 98_362_432, "c.gguf", url="https://hub.example.org/c.gguf"),
    format="gguf",
    engine="llama.cpp",
    context=8192,
    parameters=135_000_000,
    quantization="Q4_1",
    memory=300_000_000,
    intent="abc",
)
_EMBED = LockedModel(
    weights=LockedFile("hf://a/b/model.onnx", "1" * 64, 1, "model.onnx"),
    format="onnx",
    engine="onnx",
    context=256,
    tokenizer=LockedFile("hf://a/b/tokenizer.json", "2" * 64, 2, "tokenizer.json"),
    embedding=Embedding(dimension=384, normalize=True, fingerprint="deadbeef"),
)
_LOCK = Lock(
    {
        "pi": LockedTarget(models={"chat": _CHAT}),
        "laptop": LockedTarget(
            runtime=LockedRuntime("0.1.0", "3" * 64),
            models={"embed": _EMBED, "chat": _CHAT},
            images={"qdrant": LockedImage("sha256:1", "qdrant:v1")},
        ),
    }
)


def test_a_lock_reads_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "agent.lock"
    assert write_lock(path, _LOCK)
    assert read_lock(path) == _LOCK


def test_no_lock_is_an_empty_one(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "agent.lock") == Lock()


def test_a_lock_is_readable_sorted_and_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "agent.lock"
    write_lock(path, _LOCK)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Written by `paictl lock`")
    assert "lockVersion: 1\n" in text
    assert text.index("laptop:") < text.index("pi:")
    assert "size: 98362432\n" in text
    assert path.stat().st_mode & 0o777 == 0o644


def test_writing_the_same_lock_again_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "agent.lock"
    write_lock(path, _LOCK)
    before = path.stat()
    assert not write_lock(path, _LOCK)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [each.name for each in tmp_path.iterdir()] == ["agent.lock"]


def test_a_failed_write_leaves_the_old_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent.lock"
    write_lock(path, _LOCK)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_lock(path, Lock())
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["agent.lock"]


def test_the_difference_of_two_locks_is_a_line_each() -> None:
    smaller = LockedModel(**{**{f: getattr(_CHAT, f) for f in _CHAT.__slots__}, "context": 4096})
    new = Lock({"pi": LockedTarget(models={"chat": smaller}), "laptop": _LOCK.targets["laptop"]})
    assert diff_locks(_LOCK, _LOCK) == []
    assert diff_locks(_LOCK, new) == ["~ pi.models.chat.context: 8192 -> 4096"]
    imaged = Lock({"t": LockedTarget(images={"a": LockedImage("b", "c")})})
    assert diff_locks(Lock(), imaged) == ["+ t.images.a.intent: c", "+ t.images.a.reference: b"]
    assert diff_locks(imaged, Lock()) == ["- t.images.a.intent: c", "- t.images.a.reference: b"]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("lockVersion: 2\n", ":1:", "lockVersion is 2"),
        ("targets: {}\n", ":1:", "lockVersion is None"),
        ("lockVersion: 1\ntargets:\n  pi: {models: {chat: {format: 5}}}\n", ":3:", "targets.pi.models.chat"),
        ("lockVersion: 1\ntargets: [\n", ":2:", "not YAML"),
        ("", ":1:", "is empty"),
    ],
)
def test_what_is_no_lock_is_told_with_its_place(tmp_path: Path, text: str, place: str, words: str) -> None:
    path = tmp_path / "agent.lock"
    path.write_text(text)
    with pytest.raises(ManifestError) as raised:
        read_lock(path)
    assert any(words in d.summary and place in str(d.span) for d in raised.value.diagnostics)
