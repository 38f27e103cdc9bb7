"""Runs the test lanes, one line each at the end: ran with counts, or skipped with the reason and what would enable it.

``python -m tests.lanes person`` is ``make test``; ``all`` adds the heavy lanes, those on a Docker engine, the one on a Kubernetes
cluster and the one on hosts over ssh, and runs the others only when they have not passed at this very commit; ``kubernetes`` and
``hosts`` are those alone, the latter with the roles that are tried one by one.
With ``CI=true`` a lane that can't run is a failure, and a file with a test that failed runs once more: what passes then is named as
unsteady, which is a fault to be found, and only what fails twice fails the lane (docs/decisions/unsteady-tests.md).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from paictl.sandbox import namespaces
from tests.docker import engine, newer
from tests.hosts import needs, remains, roots
from tests.kubernetes import build
from tests.kubernetes import lease as leases

# pytest's last line, such as `2 failed, 31 passed, 1 skipped in 12.34s`.
_COUNTS = re.compile(r"^=* ?((?:[0-9]+ [a-z]+(?:, )?)+) in [0-9.]+s")

# pytest's line of what did not pass, such as `FAILED tests/plans/test_plans.py::test_order[three] - assert 1 == 2`.
_NOT_PASSED = re.compile(r"^(?:FAILED|ERROR) ((tests/[^:\s]+\.py)(?:::.+?)?)(?: - .*)?$")
# pytest's exit code for that; others say that it could not run them all.
_TESTS_FAILED = 1
# More files than that are no accident.
_FILES_TRIED_AGAIN = 2

_PASSED = Path(__file__).parent.parent / ".venv" / ".lanes-passed"


@dataclass(frozen=True)
class Lane:
    """Some tests that run together. ``lacking`` says why they can't run here and what would change that; ``within`` is what
    they all share, and gives what was left of it at the end.
    """

    name: str
    command: tuple[str, ...]
    lacking: Callable[[], str] = str
    within: Callable[[], AbstractContextManager[list[str]]] = lambda: nullcontext([])


def _pytest(marks: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "pytest", "-q", "-m", marks, *arguments)


def _lacks_sandbox() -> str:
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed: apt-get install bubblewrap"
    made = namespaces()
    command = [*made.prefix, "bwrap", *made.options(network=False), "--ro-bind", "/", "/", "true"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"bubblewrap can't make namespaces here: {tried.stderr.strip()}"


def _lacks_engine() -> str:
    """Tells it after having installed what it may: only the tests that everybody runs should work without that."""
    engine.install()
    return engine.lacking()


@contextmanager
def _engine() -> Iterator[list[str]]:
    """One engine for all workers of the lane, from before the first until after the last."""
    left: list[str] = []
    held = engine.lease()
    try:
        yield left
    finally:
        left += held.close()


def _lacks_cluster() -> str:
    """The same for a cluster, whose servers are built first: that takes minutes, once. Its stories' images need an engine."""
    leases.install()
    engine.install()
    if reason := leases.unable():
        return reason
    if not leases.given():
        build.servers()
    return leases.lacking()


@contextmanager
def _clusters() -> Iterator[list[str]]:
    """Both kinds for all workers of the lane."""
    left: list[str] = []
    held = [leases.lease(node=node) for node in (False, True)]
    try:
        yield left
    finally:
        left += [one for lease in held for one in lease.close()]


def _lacks_hosts() -> str:
    """The same for hosts; what they begin with is made before the first test is, whose time would be counted."""
    needs.install()
    if reason := needs.lacking():
        return reason
    roots.root()
    return ""


PERSON = (
    Lane(
        "unit",
        _pytest("not slow and not real and not heavy and not docker and not kubernetes and not hosts", "-n", "2"),
    ),
    Lane("slow", _pytest("slow and not real and not heavy and not docker and not kubernetes and not hosts", "-n", "2")),
    Lane("real", _pytest("real and not heavy and not docker and not kubernetes and not hosts"), _lacks_sandbox),
)
KUBERNETES = (Lane("kubernetes", _pytest("kubernetes", "-n", "2", "--dist", "loadfile"), _lacks_cluster, _clusters),)
# A file at a time: what stands on its host is made once.
HOSTS = (Lane("hosts", _pytest("hosts and not roles", "-n", "2", "--dist", "loadfile"), _lacks_hosts, remains.watched),)
# What is used by hand, or part of what the stories do: for whoever changes a role, beside the lane above.
ROLES = (Lane("roles", _pytest("roles", "-n", "2", "--dist", "loadfile"), _lacks_hosts, remains.watched),)
HEAVY = (
    Lane("heavy", _pytest("heavy and not docker and not kubernetes and not hosts", "-n", "2"), _lacks_sandbox),
    # A file at a time: what stands for one is made once.
    Lane("docker", _pytest("docker", "-n", "2", "--dist", "loadfile"), _lacks_engine, _engine),
    Lane("newer", (sys.executable, "-m", "tests.docker.newer"), newer.lacking),
    *KUBERNETES,
    *HOSTS,
    Lane("bench", (sys.executable, "-m", "bench", "--check")),
)


def person() -> int:
    """The lanes for a person; that they passed is kept, with the commit."""
    _PASSED.unlink(missing_ok=True)
    failed = run(PERSON)
    if not failed:
        _PASSED.write_text(_commit(), encoding="ascii")
    return failed


def everything() -> int:
    """All lanes, but those that passed at this commit already."""
    commit = _commit()
    if commit and _PASSED.exists() and _PASSED.read_text(encoding="ascii") == commit:
        print(f"lanes {', '.join(lane.name for lane in PERSON)}: passed at {commit[:8]} already (make test)")
        return run(HEAVY)
    return person() | run(HEAVY)


def _commit() -> str:
    """The commit that the tree is exactly at; empty when something differs from it, or when nobody can tell."""
    try:
        dirty, head = (
            subprocess.run(["git", *asked], capture_output=True, text=True, check=True).stdout.strip()
            for asked in (("status", "--porcelain"), ("rev-parse", "HEAD"))
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return "" if dirty else head


def run(lanes: tuple[Lane, ...]) -> int:
    """Run them all, even after a failure; 0 only when none failed and, under CI, none was skipped."""
    lines, failed = [], False
    for lane in lanes:
        reason = lane.lacking()
        if reason:
            failed = failed or os.environ.get("CI") == "true"
            lines.append(f"lane {lane.name}: skipped, {reason}")
            continue
        print(f"== lane {lane.name}", flush=True)
        begun = time.monotonic()
        try:
            with lane.within() as left:
                came = _once_more(lane.command, _stream(lane.command))
        except RuntimeError as error:
            came, left = _Came(1, str(error)), []
        failed = failed or came.code != 0 or bool(left)
        lines.append(
            f"lane {lane.name}: {_verdict(came, left)}, {came.counts or 'no counts'}, {time.monotonic() - begun:.0f} s"
        )
    print("\n" + "\n".join(lines))
    return int(failed)


@dataclass(frozen=True)
class _Came:
    """How a command ended: its exit code, the counts of pytest's last line, the tests that did not pass with their files, and those
    that passed when they were tried again.
    """

    code: int
    counts: str = ""
    failing: tuple[tuple[str, str], ...] = ()
    unsteady: tuple[str, ...] = ()


def _verdict(came: _Came, left: list[str]) -> str:
    if came.code:
        return f"FAILED (exit {came.code})"
    if left:
        return f"FAILED (left behind: {', '.join(left)})"
    return f"passed, UNSTEADY (failed at first: {', '.join(came.unsteady)})" if came.unsteady else "passed"


def _once_more(command: tuple[str, ...], came: _Came) -> _Came:
    """Under CI, what came of the few files with a failure when they ran again: whole, since a file's tests may build on each other."""
    files = sorted({file for _, file in came.failing})
    if os.environ.get("CI") != "true" or came.code != _TESTS_FAILED or not 0 < len(files) <= _FILES_TRIED_AGAIN:
        return came
    print(f"== once more: {' '.join(files)}", flush=True)
    again = _stream((*command, *files))
    return came if again.code else replace(came, code=0, unsteady=tuple(test for test, _ in came.failing))


def _stream(command: tuple[str, ...]) -> _Came:
    """Run it, showing what it prints."""
    counts, failing = "", list[tuple[str, str]]()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if found := _COUNTS.match(line):
                counts = found[1]
            elif found := _NOT_PASSED.match(line.rstrip()):
                failing.append((found[1], found[2]))
    return _Came(process.returncode, counts, tuple(failing))


if __name__ == "__main__":
    which = sys.argv[1:]
    single = {"kubernetes": KUBERNETES, "hosts": (*HOSTS, *ROLES)}
    sys.exit(everything() if which == ["all"] else run(single[which[0]]) if {*which} & {*single} else person())
