"""The crash matrix in a cluster: a process that is killed with -9, run again, and the world as without the kill."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from tests.crash.docker_world import LIFE
from tests.crash.kubernetes_world import ClusterLife
from tests.crash.matrix import Kill, Server
from tests.drivers.kubernetes.stack import made_stack
from tests.kubernetes.access import Access
from tests.kubernetes.lease import Lease

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow, pytest.mark.promise(14)]

_POINTS = (
    "before-begin", "after-begin", "after-effect", "after-end", "during-wait", "during-state-write", "before-unlock"
)  # fmt: skip
_LIVES = 5
# They mostly wait for pods.
_AT_ONCE = 4
_SEED = 14
# The second moment of a recovery: it has written down what the first one left, and goes on from there.
_SECOND = ("any", "", 2)
# In a namespace of its own each agent may have the same name, so that all of it can be compared.
_AGENT = "atlas"


@dataclass(frozen=True)
class Undisturbed:
    """The same life without a kill: what stands after each chapter, and the moments at which it could have been killed."""

    seen: Mapping[str, Mapping[str, Any]]
    moments: Mapping[str, Sequence[Kill]]


@contextmanager
def _life(access: Access, folder: Path) -> Iterator[ClusterLife]:
    folder.mkdir()
    server = Server()
    try:
        with made_stack(access) as stack:
            stack.agent = _AGENT
            yield ClusterLife(server, stack, folder)
    finally:
        server.close()


@pytest.fixture(scope="module")
def access(node_cluster: Lease) -> Iterator[Access]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(node_cluster.access.kubeconfig))
        yield node_cluster.access


@pytest.fixture(scope="module")
def undisturbed(access: Access, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    trace, seen, moments = folder / "points", {}, {}
    with _life(access, folder / "desk") as life:
        for chapter in LIFE:
            assert life.run(chapter, trace=trace) == 0
            seen[chapter.name] = life.seen()
            # Independent steps are done at once, so that their order is no matter.
            points = (json.loads(line) for line in trace.read_text().splitlines())
            moments[chapter.name] = sorted(cast("Kill", tuple(one)) for one in points)
            trace.unlink()
    assert {point for several in moments.values() for point, _, _ in several} == set(_POINTS)
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


def test_kill_9_loses_and_doubles_nothing_in_a_cluster(
    access: Access, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    _meets_everything(undisturbed)
    lives = [{name: [kill] for name, kill in kills.items()} for kills in _sample(undisturbed)]
    # And one that is killed within its recoveries, too.
    effects = {
        name: next(one for one in found if one[0] == "after-effect") for name, found in undisturbed.moments.items()
    }
    lives.append({name: [kill, _SECOND] for name, kill in effects.items()})

    def lead(number: int) -> None:
        with _life(access, tmp_path / f"desk-{number}") as life:
            _live(life, undisturbed, lives[number])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lead, range(len(lives))))


def test_a_value_that_is_made_once_stays_the_same_over_a_kill(access: Access, tmp_path: Path) -> None:
    with _life(access, tmp_path / "desk") as life:
        assert life.run(LIFE[0], ("after-effect", "create:secret/token", 1)) == -9
        token = life.token()
        assert life.run(LIFE[0]) == 0
        assert life.token() == token


def _live(life: ClusterLife, undisturbed: Undisturbed, kills: Mapping[str, Sequence[Kill]]) -> None:
    token = ""
    for chapter in LIFE:
        for kill in kills[chapter.name]:
            assert life.run(chapter, kill) == -9, f"{kill} never came"
        how = f"{chapter.name} killed at {kills[chapter.name]}"
        assert life.run(chapter) == 0, how
        _same(life.seen(), undisturbed.seen[chapter.name], how)
        if chapter.name == "apply":
            life.write("what the agent wrote")
            token = life.token()
        if chapter.name != "destroy":
            assert life.diary() == "what the agent wrote", how
        assert life.token() == token, how


def _same(seen: Mapping[str, Any], expected: Mapping[str, Any], how: str) -> None:
    assert sorted(seen) == sorted(expected), how
    for what, one in expected.items():
        assert seen[what] == one, f"{what} after {how}"


def _meets_everything(undisturbed: Undisturbed) -> None:
    """Every kind of point, and every verb."""
    kills = [(name, kill[0]) for one in _sample(undisturbed) for name, kill in one.items()]
    assert len(kills) == 20
    assert {name for name, _ in kills} == {chapter.name for chapter in LIFE}
    assert {kind for _, kind in kills} == set(_POINTS)
