"""Recall from 100,000 memories of 384 numbers each, within one space of twenty, by words and meaning, without the embedding."""

# ruff: noqa: SLF001 - it fills the store beneath its front door: one by one would measure 100,000 commits
from __future__ import annotations

import asyncio
import math
import random
import statistics
import tempfile
import time
from array import array
from pathlib import Path

import apsw

from bench.table import Row, render
from paictl.manifest.models import Space
from paictl.runtime.gateway.memory import records
from paictl.runtime.gateway.memory.port import Embedding, NewRecord, Scope
from paictl.runtime.gateway.memory.service import Memory, in_file
from paictl.runtime.gateway.memory.vectors import SqliteVectors

__all__ = ["run"]

_MEMORIES = 100_000
_SPACES = 20
_DIMENSION = 384
_QUESTIONS = 200
_BAR_MS = 20.0
_BATCH = 2_000
_VOCABULARY = 20_000


def run() -> list[Row]:
    """Fill a memory, ask it, and tell the 95th percentile: of CPU time against the bar, of the wall clock for information."""
    with tempfile.TemporaryDirectory() as folder:
        took = asyncio.run(_measure(Path(folder) / "memory.db"))
    cpu, wall = (statistics.quantiles(times, n=20)[-1] for times in zip(*took, strict=True))
    what = f"recall from {_MEMORIES:,} memories, one space of {_SPACES}, p95"
    return [Row(f"{what}, CPU", cpu, "ms", _BAR_MS), Row(f"{what}, wall", wall, "ms")]


async def _measure(path: Path) -> list[tuple[float, float]]:
    numbers = random.Random(7)
    question: list[float] = []

    async def embed(texts: list[str]) -> list[list[float]]:
        return [question for _ in texts]

    spaces = {f"space-{index}": Space() for index in range(_SPACES)}
    kept = in_file(path)
    memory = Memory(kept, spaces, Embedding(embed, "bench", _DIMENSION))
    await memory.open()
    await _fill(memory, numbers)
    took = []
    for _ in range(_QUESTIONS):
        question[:] = _vector(numbers)
        space = f"space-{numbers.randrange(_SPACES)}"
        sentence = _sentence(numbers, 8)
        wall, cpu = time.perf_counter(), time.process_time()
        found = await memory.recall(sentence, [space], "", 10, None)
        took.append(((time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000))
        assert len(found) == 10
    await memory.close()
    return took


async def _fill(memory: Memory, numbers: random.Random) -> None:
    present = memory._indexing._open
    assert present is not None
    assert isinstance(present.index, SqliteVectors)
    for start in range(0, _MEMORIES, _BATCH):
        await present.index._database.run(_add_batch, present.index, range(start, start + _BATCH), numbers)
    await memory._indexing.catch_up()


def _add_batch(connection: apsw.Connection, index: SqliteVectors, batch: range, numbers: random.Random) -> None:
    rows = []
    for number in batch:
        scope = Scope(f"space-{number % _SPACES}")
        record, _ = records._add(connection, NewRecord(f"{number} {_sentence(numbers, 20)}", scope))
        rows.append((record.number, scope, index._pack(_vector(numbers))))
    index._put(connection, rows)
    records._indexed(connection, [row[0] for row in rows], index.name)


def _sentence(numbers: random.Random, words: int) -> str:
    # Word frequencies as in language: the most common ones are in nearly every text (Zipf).
    return " ".join(f"w{int(_VOCABULARY ** numbers.random())}" for _ in range(words))


def _vector(numbers: random.Random) -> array[float]:
    values = array("f", (numbers.gauss(0, 1) for _ in range(_DIMENSION)))
    length = math.sqrt(sum(value * value for value in values))
    return array("f", (value / length for value in values))


if __name__ == "__main__":
    print(render(run()))
