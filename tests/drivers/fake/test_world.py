from __future__ import annotations

import os
from pathlib import Path

from paictl.drivers.fake import Faults, Thing, World


def test_a_torn_line_never_happened_and_what_follows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "world.jsonl"
    writer = World(path)
    writer.put(Thing("file/a", {"content": "x" * 5000}), "create file/a")
    whole = path.stat().st_size
    writer.put(Thing("file/b", {}), "create file/b")
    os.truncate(path, whole + 20)
    after = World(path)
    assert after.effects == ["create file/a"]
    after.put(Thing("file/c", {}), "create file/c")
    assert World(path).effects == after.effects == ["create file/a", "create file/c"]


def test_another_process_sees_what_was_written(tmp_path: Path) -> None:
    one, other = World(tmp_path / "world.jsonl"), World(tmp_path / "world.jsonl")
    assert other.things == {}
    one.put(Thing("file/a", {}))
    assert set(other.things) == {("file/a", "")}
    other.remove(("file/a", ""))
    assert one.things == {}


def test_faults_are_read_from_beside_the_world(tmp_path: Path) -> None:
    (tmp_path / "world.faults.json").write_text('{"fail": {"create:file/a": 1}, "die": ["create:file/b"]}')
    faults = Faults.beside(tmp_path / "world.jsonl")
    assert faults.die == {"create:file/b"}
    assert faults.fails(faults.fail, "create:file/a")
    assert not faults.fails(faults.fail, "create:file/a")
