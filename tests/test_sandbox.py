from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from paictl import sandbox
from paictl.sandbox import Namespaces, namespaces

_SYSTEM = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--cap-drop", "ALL"]
_WAYS = [namespaces(), *([Namespaces(sandbox._AS_ROOT, own_user=False)] if os.geteuid() == 0 else [])]


def _run(made: Namespaces, script: str, *, network: bool = False) -> str:
    command = [*made.prefix, "bwrap", *made.options(network=network), *_SYSTEM, "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.real
@pytest.mark.promise(24)
@pytest.mark.parametrize("made", _WAYS, ids=lambda made: "own-user" if made.own_user else "as-root")
def test_a_room_has_no_network_no_capability_and_no_other_process(made: Namespaces) -> None:
    assert _run(made, "tail -n +3 /proc/net/dev | cut -d: -f1").split() == ["lo"]
    assert _run(made, "grep CapEff /proc/self/status").split()[1] == "0" * 16
    assert len(_run(made, "ls -d /proc/[0-9]*").split()) < 6


@pytest.mark.real
@pytest.mark.parametrize("made", _WAYS, ids=lambda made: "own-user" if made.own_user else "as-root")
def test_a_room_with_the_machines_network_has_it(made: Namespaces) -> None:
    outside = len(Path("/proc/net/dev").read_text(encoding="utf-8").splitlines())
    assert len(_run(made, "cat /proc/net/dev", network=True).splitlines()) == outside


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="root's way is for root")
def test_roots_way_leaves_no_mount_behind() -> None:
    def mounts() -> str:
        return subprocess.run(["cat", "/proc/self/mountinfo"], capture_output=True, text=True, check=True).stdout

    before = mounts()
    _run(Namespaces(sandbox._AS_ROOT, own_user=False), "true")
    assert mounts() == before
