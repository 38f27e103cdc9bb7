"""The lines that services wrote: the last ones, those to come, and across the turning over of the file."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import BinaryIO

import pytest

from paictl.clock import ManualClock
from paictl.drivers.native import logs
from paictl.drivers.native.logs import follow, last_lines


def test_the_last_lines_reach_back_into_the_file_before(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    log.write_text("3\n4\n")
    log.with_name("agent.log.1").write_text("0\n1\n2\n")
    assert last_lines(log, 4) == ["1", "2", "3", "4"]
    assert last_lines(log, 1) == ["4"]
    assert last_lines(log, 0) == []


def test_a_long_log_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    log.write_text("".join(f"line {number} {'x' * 200}\n" for number in range(20_000)))
    assert [line.split()[1] for line in last_lines(log, 3)] == ["19997", "19998", "19999"]


def test_what_is_not_text_does_not_stop_the_log(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    log.write_bytes(b"caf\xe9\r\nnext")
    assert last_lines(log, 2) == ["caf\N{REPLACEMENT CHARACTER}", "next"]


@pytest.mark.timeout(30)
def test_following_shows_new_lines_also_after_the_file_was_turned_over(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    log.write_text("old\n")

    def begin() -> None:
        with log.open("a") as file:
            file.write("one\ntw")

    def end() -> None:
        with log.open("a") as file:
            file.write("o\n")
        log.rename(log.with_name("agent.log.1"))
        log.write_text("three\n")

    writes = iter((begin, end))

    class Clock(ManualClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            next(writes)()

    lines = follow(log, Clock())
    assert [next(lines) for _ in range(3)] == ["one", "two", "three"]
    lines.close()


def test_what_is_written_just_before_the_file_is_turned_over_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "agent.log"
    log.write_text("old\n")
    successor, looks = logs._successor, []

    def at_the_worst_moment(path: Path, handle: BinaryIO | None) -> BinaryIO | None:
        looks.append(handle)
        if handle and len(looks) == 2:
            with log.open("a") as file:
                file.write("last\n")
            log.rename(log.with_name("agent.log.1"))
            log.write_text("first\n")
        return successor(path, handle)

    monkeypatch.setattr(logs, "_successor", at_the_worst_moment)
    assert list(islice(follow(log, ManualClock()), 2)) == ["last", "first"]


def test_following_a_log_that_does_not_exist_yet_waits_for_it(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"

    class Clock(ManualClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            log.write_text("begins\n")

    assert next(follow(log, Clock())) == "begins"
