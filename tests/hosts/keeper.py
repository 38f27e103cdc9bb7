"""The power supply and the cable of one host: boots it in namespaces of its own, and again whenever it asked for a reboot.

Started by ``host`` within the namespaces of ``lan``; uses the standard library only. ``boot`` is what it starts. What the host
says on its console goes to ``console.log``.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

_BOOT = Path(__file__).with_name("boot.py")


def keep(directory: Path) -> None:
    """Boot until the host switches itself off."""
    plan = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
    number = 0
    while True:
        number += 1
        code = _boot(directory, plan, number)
        # What the kernel does to the first process of a namespace that asked for a reboot.
        if code != -signal.SIGHUP:
            return


def _boot(directory: Path, plan: dict[str, str], number: int) -> int:
    ours, theirs = pty.openpty()
    waiting, go = os.pipe()
    console = threading.Thread(target=_copy, args=(ours, directory / "console.log"), daemon=True)
    console.start()
    command = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child", "--"]
    command += [sys.executable, "-I", str(_BOOT), str(directory), str(waiting)]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, pass_fds=(waiting,), start_new_session=True
    ) as machine:
        os.close(theirs)
        os.close(waiting)
        first = _first(machine)
        if first:
            _connect(plan, first)
            part = directory / "boot.part"
            part.write_text(json.dumps({"number": number, "first": first}), encoding="ascii")
            part.rename(directory / "boot.json")
            os.write(go, b"\n")
        os.close(go)
        code = machine.wait()
    (directory / "boot.json").unlink(missing_ok=True)
    subprocess.run(["ip", "link", "delete", plan["name"]], stderr=subprocess.DEVNULL, check=False)
    console.join()
    return code


def _first(machine: subprocess.Popen[bytes]) -> int:
    """Who will be the host's first process, as it is known here; 0 when there will be none."""
    path = Path(f"/proc/{machine.pid}/task/{machine.pid}/children")
    while machine.poll() is None:
        if children := path.read_text(encoding="ascii").split():
            return int(children[0])
    return 0


def _connect(plan: dict[str, str], first: int) -> None:
    """A new cable to the bridge, always with the same card at the host's end."""
    peer = f"peer name eth0 address {plan['card']} netns {first}"
    for command in (f"link add {plan['name']} type veth {peer}", f"link set {plan['name']} master lan up"):
        subprocess.run(["ip", *command.split()], check=True)


def _copy(ours: int, log: Path) -> None:
    # That the last end of a terminal is closed is an error of reading.
    with log.open("ab") as file, suppress(OSError):
        while told := os.read(ours, 65536):
            file.write(told)
            file.flush()
    os.close(ours)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
