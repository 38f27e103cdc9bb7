"""What several threads want done at once goes into few plays: nobody waits for nothing, and nobody's trouble is another's."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from paictl.drivers.ansible.convoy import Convoy, Job

_SECONDS = 10


@dataclass
class _Road:
    """Plays that last until they are let end. ``gone`` are the jobs of each."""

    gone: list[list[str]] = field(default_factory=list)
    under_way: int = 0
    left: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def drive(self, jobs: Sequence[Job]) -> Sequence[str]:
        self.under_way += 1
        assert self.under_way == 1, "two plays at once"
        self.gone.append([job.name for job in jobs])
        self.begun.release()
        assert self.left.acquire(timeout=_SECONDS)
        self.under_way -= 1
        if any(job.name == "broken" for job in jobs):
            raise ValueError("no road")
        return [f"{job.name} is done" for job in jobs]


def _job(name: str, host: str = "pi", **files: str) -> Job:
    return Job(name, host, [], files=dict(files))


def test_whoever_comes_while_a_play_runs_goes_with_the_next_one_in_the_order_of_arrival() -> None:
    road = _Road()
    convoy = Convoy(road.drive)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(convoy.carry, _job("first"))
        assert road.begun.acquire(timeout=_SECONDS)
        others = []
        for number in range(5):
            others.append(pool.submit(convoy.carry, _job(f"later{number}")))
            while len(convoy._waiting) <= number:
                threading.Event().wait(0.001)
        for _ in range(2):
            road.left.release()
        assert [one.result(_SECONDS) for one in (first, *others)] == [
            "first is done",
            *(f"later{number} is done" for number in range(5)),
        ]
    assert road.gone == [["first"], [f"later{number}" for number in range(5)]]


def test_those_who_come_together_go_together() -> None:
    road = _Road()
    convoy = Convoy(road.drive)
    road.left.release(8)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: convoy.carry(_job(f"{number}")), range(8)))
    assert sorted(name for gone in road.gone for name in gone) == [f"{number}" for number in range(8)]
    assert len(road.gone) < 8


def test_what_stops_a_play_is_told_to_all_of_it_and_the_next_one_goes() -> None:
    road = _Road()
    convoy = Convoy(road.drive)
    road.left.release(2)
    with pytest.raises(ValueError, match="no road"):
        convoy.carry(_job("broken"))
    assert convoy.carry(_job("whole")) == "whole is done"


def test_a_file_has_one_content_in_a_play_and_nobody_overtakes_on_a_host() -> None:
    road = _Road()
    convoy = Convoy(road.drive)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(convoy.carry, _job("first"))]
        assert road.begun.acquire(timeout=_SECONDS)
        jobs = (_job("a", text="1"), _job("b", text="2"), _job("behind b"), _job("elsewhere", "vps", text="1"))
        for number, job in enumerate(jobs):
            waiting.append(pool.submit(convoy.carry, job))
            while len(convoy._waiting) <= number:
                threading.Event().wait(0.001)
        for _ in range(3):
            road.left.release()
        for one in waiting:
            one.result(_SECONDS)
    assert road.gone == [["first"], ["a", "elsewhere"], ["b", "behind b"]]
