"""paictl on the very machine where the agent is to live, typed by somebody whose sudo asks for a password."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.terminals import opened
from tests.hosts import host as one
from tests.hosts.host import Host
from tests.hosts.lan import Lan
from tests.hosts.playing import put
from tests.packaging.test_wheel import ROOT

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]

_HERE = "hosts: {}\n      system: {zram: 0}\n"


@pytest.fixture(scope="module")
def machine(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """It has paictl, as from an index, and its user the Raspberry Pi's example."""
    made = one.begin(lan, "here", online=True)
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    assert uv is not None
    put(made, {"root/uv": Path(uv).read_bytes(), f"root/{wheel.name}": wheel.read_bytes()})
    environment = "HOME=/root /root/uv venv -q --python /usr/bin/python3 /opt/tried"
    made.exec(
        [
            "sh",
            "-ec",
            f"{environment}; HOME=/root /root/uv pip install -q --system-certs -p /opt/tried/bin/python /root/{wheel.name}",
        ]
    )
    example = ROOT / "examples" / "raspberry-pi"
    files = {str(path.relative_to(example)): path.read_bytes() for path in example.rglob("*") if path.is_file()}
    there = files["agent.yaml"].decode()
    before, after = there.split("      hosts:\n")
    files["agent.yaml"] = (before + "      " + _HERE + after.split("}\n", 1)[1]).encode()
    put(made, files, f"/home/{made.user}/agent")
    made.exec(["chown", "-R", f"{made.user}:", f"/home/{made.user}/agent"])
    yield made
    made.end()


def typed(machine: Host, *words: str, code: int = 0) -> str:
    """What ``paictl`` shows with these words, once sudo has its password."""
    line = f"cd agent && LC_ALL=C.UTF-8 TERM=xterm /opt/tried/bin/paictl {' '.join(words)}"
    argv = machine.inside(["su", "-", machine.user, "-c", line])
    with opened(argv, Path("/"), os.environ, columns=200) as terminal:
        terminal.see("password that sudo asks for: ")
        terminal.type(f"{machine.password}\n")
        ended = terminal.end(300)
        assert ended == code, terminal.text
        return terminal.text


@pytest.mark.promise(2)
def test_an_agent_moves_in_where_it_is_typed_and_answers(machine: Host) -> None:
    assert "http://127.0.0.1:8740" in typed(machine, "apply", "--yes")
    assert "nothing to do" in typed(machine, "plan", "--detailed-exitcode")
    assert typed(machine, "chat", "Hello").strip()


@pytest.mark.promise(24)
def test_its_rooms_are_closed_there_too(machine: Host) -> None:
    assert "checks hold" in typed(machine, "verify")


def test_it_moves_out_again(machine: Host) -> None:
    typed(machine, "destroy", "--yes")
    assert (
        machine.exec(["sh", "-c", "find /etc/systemd/system -name 'paictl*'; pgrep -f '[/]opt/paictl' || true"]) == ""
    )
