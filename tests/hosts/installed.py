"""A host on which paictl is installed as from an index, and what somebody types there whose sudo asks for a password."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cli.terminals import opened
from tests.hosts.host import Host
from tests.hosts.playing import put
from tests.packaging.test_wheel import ROOT

__all__ = ["PAICTL", "furnish", "install", "typed"]

PAICTL = "/opt/tried/bin/paictl"
"""Root's, as a timer of root's wants it."""

_HERE = "hosts: {}\n      system: {zram: 0}\n"
_APPLIED_SECONDS = 300


def install(machine: Host, folder: Path) -> None:
    """The wheel of this very code, built in ``folder``, with what it needs from the index."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    assert uv is not None
    put(machine, {"root/uv": Path(uv).read_bytes(), f"root/{wheel.name}": wheel.read_bytes()})
    environment = "HOME=/root /root/uv venv -q --python /usr/bin/python3 /opt/tried"
    machine.exec(
        [
            "sh",
            "-ec",
            f"{environment}; HOME=/root /root/uv pip install -q --system-certs -p /opt/tried/bin/python /root/{wheel.name}",
        ]
    )


def furnish(machine: Host) -> None:
    """The Raspberry Pi's example in the user's home, for the machine itself."""
    example = ROOT / "examples" / "raspberry-pi"
    files = {str(path.relative_to(example)): path.read_bytes() for path in example.rglob("*") if path.is_file()}
    there = files["agent.yaml"].decode()
    before, after = there.split("      hosts:\n")
    files["agent.yaml"] = (before + "      " + _HERE + after.split("}\n", 1)[1]).encode()
    put(machine, files, f"/home/{machine.user}/agent")
    machine.exec(["chown", "-R", f"{machine.user}:", f"/home/{machine.user}/agent"])


def typed(machine: Host, *words: str, code: int = 0) -> str:
    """What ``paictl`` shows with these words in ``~/agent``, once sudo has its password."""
    line = f"cd agent && LC_ALL=C.UTF-8 TERM=xterm {PAICTL} {' '.join(words)}"
    argv = machine.inside(["su", "-", machine.user, "-c", line])
    with opened(argv, Path("/"), os.environ, columns=200) as terminal:
        terminal.see("password that sudo asks for: ")
        terminal.type(f"{machine.password}\n")
        ended = terminal.end(_APPLIED_SECONDS)
        assert ended == code, terminal.text
        return terminal.text
