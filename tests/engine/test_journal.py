from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paictl.drivers.fake import FakeDriver
from paictl.engine.driver import SecretReader
from paictl.engine.journal import Journal, replay
from paictl.engine.model import Step
from paictl.events import Emit
from tests.engine.graphs import Bench, small_graph, wanting


class _Watching(FakeDriver):
    """At each act, looks at what the journal held the last time it was made durable."""

    def __init__(self, path: Path, durable: dict[str, list[tuple[str, str]]]) -> None:
        super().__init__(path)
        self.durable = durable
        self.seen: dict[str, list[tuple[str, str]]] = {}

    def act(self, step: Step, *, secrets: SecretReader, emit: Emit) -> None:
        self.seen[step.id] = list(self.durable["journal"])
        super().act(step, secrets=secrets, emit=emit)


@pytest.mark.promise(15)
def test_a_begin_is_durable_before_its_effect_and_an_end_before_a_dependent_starts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable: dict[str, list[tuple[str, str]]] = {"journal": []}
    journal, really = bench.state / "journal.jsonl", os.fsync

    def sync(descriptor: int) -> None:
        really(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").resolve() == journal.resolve():
            durable["journal"] = [(str(entry["type"]), str(entry["step"])) for entry in replay(journal).entries]

    monkeypatch.setattr(os, "fsync", sync)
    driver = _Watching(bench.folder / "other.jsonl", durable)
    plan = bench.reconciler(driver=driver).apply(wanting(small_graph())).plan
    for step in plan.steps:
        assert ("begin", step.id) in driver.seen[step.id]
        assert ("end", step.id) not in driver.seen[step.id]
        assert all(("end", need) in driver.seen[step.id] for need in step.needs)


@pytest.mark.promise(15)
def test_state_is_written_by_temporary_file_fsync_rename_and_directory_fsync(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    sync, rename = os.fsync, Path.replace

    def syncing(descriptor: int) -> None:
        happened.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').resolve().name}")
        sync(descriptor)

    def renaming(path: Path, target: Path) -> Path:
        happened.append(f"rename {path.name} {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "replace", renaming)
    bench.reconciler().apply(wanting(small_graph()))
    text = "\n".join(happened)
    assert "fsync .0001.json.new\nrename .0001.json.new 0001.json\nfsync releases" in text
    assert "fsync .state.json.new\nrename .state.json.new state.json\nfsync laptop" in text
    assert text.index("rename .state.json.new") < text.index("rename journal.jsonl"), (
        "the journal outlives what it says"
    )


_ENTRIES = st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=3), min_size=1, max_size=5)


@pytest.mark.promise(15)
@given(_ENTRIES, st.integers(min_value=1))
def test_a_torn_last_line_is_as_if_it_had_never_been_begun(tmp_path_factory: Any, entries: Any, cut: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal(path)
    for entry in entries[:-1]:
        journal.commit([entry])
    whole = path.stat().st_size
    journal.commit([entries[-1]])
    journal.close()
    os.truncate(path, whole + cut % (path.stat().st_size - whole))
    read = replay(path)
    assert read.entries == tuple(entries[:-1])
    assert read.damaged == 0
    again = Journal(path)
    again.commit([{"type": "after"}])
    again.close()
    assert replay(path).entries == (*entries[:-1], {"type": "after"})


@pytest.mark.promise(15)
@given(_ENTRIES, st.data())
def test_a_flipped_bit_is_found(tmp_path_factory: Any, entries: Any, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal(path)
    journal.commit([*entries, {"last": "one"}])
    journal.close()
    content = bytearray(path.read_bytes())
    lines = bytes(content).splitlines(keepends=True)
    place = data.draw(st.integers(0, len(b"".join(lines[:-1])) - 2))
    content[place] ^= 1 << data.draw(st.integers(0, 6))
    path.write_bytes(content)
    read = replay(path)
    assert read.damaged >= 1
    assert len(read.entries) < len(entries) + 1


def test_a_damaged_line_is_told_and_the_target_believed(bench: Bench) -> None:
    bench.faults.fail["create:service/agent"] = 1
    with pytest.raises(Exception, match="service/agent"):
        bench.reconciler().apply(wanting(small_graph()))
    journal = bench.state / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0].replace(b"begin", b"bogus"), *lines[1:]]))
    bench.reconciler().apply(wanting(small_graph()))
    assert any("has 1 damaged lines; going by what the target shows" in text for text in bench.warnings())
    assert len(bench.world.effects) == len(set(bench.world.effects)) == 4
