from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from paictl.clock import SystemClock
from paictl.errors import LockHeld
from tests.engine.graphs import Bench, small_graph, wanting

_HOLDER = """
import os, sys, time
from pathlib import Path
from tests.engine.graphs import Bench, small_graph, wanting

def wait(point, about):
    if (point, about) == ("after-begin", "create:volume/memory"):
        print("held", flush=True)
        time.sleep(600)

Bench(Path(sys.argv[1]), on_point=wait).reconciler(who="bob").apply(wanting(small_graph()))
"""


@contextmanager
def _another_apply(folder: Path) -> Iterator[int]:
    """A process in the middle of an apply, with the lock."""
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process.pid
        finally:
            process.kill()


@pytest.mark.promise(16)
def test_of_two_applies_one_wins_and_the_other_names_the_first(bench: Bench) -> None:
    with _another_apply(bench.folder) as pid:
        reconciler = bench.reconciler()
        for verb in (partial(reconciler.apply, wanting(small_graph())), reconciler.destroy):
            with pytest.raises(LockHeld) as held:
                verb()
            assert f"held by bob on {os.uname().nodename}, process {pid}, since " in held.value.summary
            assert held.value.summary.endswith("(apply)")
            assert held.value.exit_code == 4
        assert not bench.reconciler().plan(wanting(small_graph())).empty, "looking takes no lock"


@pytest.mark.promise(16)
def test_a_dead_holder_is_taken_over_with_a_warning(bench: Bench) -> None:
    with _another_apply(bench.folder) as pid:
        os.kill(pid, signal.SIGKILL)
    bench.reconciler().apply(wanting(small_graph()))
    assert any(f"taking over from bob on {os.uname().nodename}, process {pid}" in text for text in bench.warnings())
    assert len(bench.warnings()) == len(set(bench.warnings()))
    bench.events.clear()
    bench.reconciler().apply(wanting(small_graph()))
    assert bench.warnings() == []


@pytest.mark.promise(16)
def test_a_dead_holder_from_another_machine_is_taken_over_with_a_warning(bench: Bench, tmp_path: Path) -> None:
    with _another_apply(bench.folder) as pid:
        os.kill(pid, signal.SIGKILL)
    bench.reconciler(state_dir=tmp_path / "another machine").apply(wanting(small_graph()))
    assert any(f"taking over from bob on {os.uname().nodename}, process {pid}" in text for text in bench.warnings())


@pytest.mark.promise(16)
def test_the_lock_is_waited_for_as_long_as_one_says(bench: Bench) -> None:
    with _another_apply(bench.folder) as pid:
        begun = time.monotonic()
        with pytest.raises(LockHeld):
            bench.reconciler(clock=SystemClock(), lock_timeout=0.3).apply(wanting(small_graph()))
        assert time.monotonic() - begun >= 0.3
        killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
        killer.start()
        bench.reconciler(clock=SystemClock(), lock_timeout=60).apply(wanting(small_graph()))
        killer.join()


@pytest.mark.promise(16)
def test_the_targets_own_lock_counts_too(bench: Bench, tmp_path: Path) -> None:
    """Two people, two machines, two state directories: the target is what they share."""
    with _another_apply(bench.folder), pytest.raises(LockHeld, match="bob"):
        bench.reconciler(state_dir=tmp_path / "another machine").apply(wanting(small_graph()))


@pytest.mark.promise(16)
def test_a_child_that_was_started_meanwhile_does_not_keep_the_lock(bench: Bench) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(point: object, about: str) -> None:
        if (point, about) == ("after-effect", "create:volume/memory"):
            started.append(subprocess.Popen(["sleep", "600"], close_fds=False))

    bench.reconciler(on_point=start).apply(wanting(small_graph()))
    try:
        bench.reconciler().apply(wanting(small_graph()))
    finally:
        started[0].kill()
        started[0].wait()
