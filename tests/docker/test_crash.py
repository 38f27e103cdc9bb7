"""The crash matrix on a real engine: a process that is killed with -9, run again, and the world as without the kill."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest

from tests.crash.docker_world import LIFE, Chapter, CrashStack, Life, write
from tests.crash.matrix import Kill, Server
from tests.docker import stock
from tests.docker.conftest import Reached

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.promise(14)]

_POINTS = (
    "before-begin", "after-begin", "after-effect", "after-end", "during-wait", "during-state-write", "before-unlock"
)  # fmt: skip
_LIVES = 5
_SEED = 14
# Every recovery has two: it writes down what the first one left, and goes on from there, if only to let go of the lock.
_SECOND = ("any", "", 2)


@dataclass(frozen=True)
class Undisturbed:
    """The same life without a kill: what stands after each chapter, and the moments at which it could have been killed."""

    seen: Mapping[str, Mapping[str, Any]]
    moments: Mapping[str, Sequence[Kill]]


@pytest.fixture(scope="module")
def life(engine: Reached, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine.host)
        stack, server = CrashStack(stock.tiny(engine.api)), Server()
        try:
            folder = tmp_path_factory.mktemp("life") / "desk"
            yield Life(server, stack, engine.api, folder, stack.graphs())
        finally:
            server.close()
            stack.clear()


@pytest.fixture(scope="module")
def undisturbed(life: Life, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    life.begin()
    trace = tmp_path_factory.mktemp("trace") / "points"
    seen, moments = {}, {}
    for chapter in LIFE:
        assert life.run(chapter, trace=trace) == 0
        seen[chapter.name] = life.seen()
        # Independent steps are done at once, so that their order is no matter.
        moments[chapter.name] = sorted(cast("Kill", tuple(json.loads(line))) for line in trace.read_text().splitlines())
        trace.unlink()
    met = {point for several in moments.values() for point, _, _ in several}
    assert met == set(_POINTS)
    return Undisturbed(seen, moments)


def _sample(undisturbed: Undisturbed) -> list[dict[str, Kill]]:
    """For each life and each of its chapters one moment: every kind of point in turn, which of its steps by chance."""
    chance = random.Random(_SEED)
    kinds, lives = list(_POINTS), []
    for _ in range(_LIVES):
        kills = {}
        for chapter in LIFE:
            there = undisturbed.moments[chapter.name]
            kind = next(one for one in kinds if any(point == one for point, _, _ in there))
            kinds.remove(kind)
            kinds.append(kind)
            kills[chapter.name] = chance.choice([kill for kill in there if kill[0] == kind])
        lives.append(kills)
    return lives


@pytest.mark.parametrize("number", range(_LIVES))
def test_kill_9_loses_and_doubles_nothing_on_an_engine(life: Life, undisturbed: Undisturbed, number: int) -> None:
    life.begin()
    for chapter in LIFE:
        kill = _sample(undisturbed)[number][chapter.name]
        assert life.run(chapter, kill) == -9, f"{kill} never came"
        _recovers(life, undisturbed, chapter, f"killed at {kill}")


def test_kill_9_within_the_recovery_loses_and_doubles_nothing_on_an_engine(
    life: Life, undisturbed: Undisturbed
) -> None:
    life.begin()
    for chapter in LIFE:
        kill = next(one for one in undisturbed.moments[chapter.name] if one[0] == "after-effect")
        for moment in (kill, _SECOND):
            assert life.run(chapter, moment) == -9, f"{moment} never came"
        _recovers(life, undisturbed, chapter, f"killed at {kill}, and again")


def _recovers(life: Life, undisturbed: Undisturbed, chapter: Chapter, how: str) -> None:
    """Run again to the end: all is as without a kill, and the data is as it was."""
    assert life.run(chapter) == 0
    seen = life.seen()
    for what, expected in undisturbed.seen[chapter.name].items():
        assert seen[what] == expected, f"{what} after {chapter.name} {how}"
    if chapter.name == "apply":
        write(life.api, life.stack, "what the agent wrote")
    assert life.diary() == "what the agent wrote", f"{chapter.name} {how}"


def test_the_sample_meets_every_kind_of_point_and_every_verb(undisturbed: Undisturbed) -> None:
    kills = [(name, kill[0]) for one in _sample(undisturbed) for name, kill in one.items()]
    assert len(kills) == 20
    assert {name for name, _ in kills} == {chapter.name for chapter in LIFE}
    assert {kind for _, kind in kills} == set(_POINTS)
