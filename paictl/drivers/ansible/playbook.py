"""Plays the playbook of a room by ansible-runner, whose only user this is, and hears what it says. Called by ``running``."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paictl.drivers.ansible.hearing import Heard
from paictl.errors import PaictlError

if TYPE_CHECKING:
    import psutil

__all__ = ["play"]

_HERE = Path(__file__).parent
# Of what one task said: a look at a whole host is one.
_LONGEST_RESULT = 1 << 28
# What Ansible, ssh and the programs between need of our environment; secrets of the manifest may stand in the rest of it.
_KEPT = ("HOME", "LOGNAME", "PATH", "SSH_AGENT_PID", "SSH_AUTH_SOCK", "TZ", "USER", "XDG_RUNTIME_DIR")
_POLL_SECONDS = 1
# How long Ansible may take to end its workers before the kernel ends it.
_END_SECONDS = 5.0
_LOOK_SECONDS = 0.2


def play(room: Path, heard: Heard, *, check: bool, diff: bool) -> int:
    """Ansible's exit code, once it has ended. Nothing of it goes on when this is left by an error, or by Ctrl-C."""
    try:
        return _played(room, heard, check, diff)
    except BaseException:
        _end(room)
        raise


def _played(room: Path, heard: Heard, check: bool, diff: bool) -> int:
    from ansible_runner.config.runner import RunnerConfig
    from ansible_runner.runner import Runner

    config = RunnerConfig(
        private_data_dir=str(room),
        playbook="playbook.yaml",
        inventory=str(room / "hosts.yaml"),
        # Verbosely: what is left out is told in words alone.
        cmdline=" ".join([*(["--check"] if check else []), *(["--diff", "-v"] if diff else [])]) or None,
        fact_cache_type="memory",
    )
    config.prepare()
    # Not as ``settings``: those are dropped where no file of settings stands beside them.
    config.suppress_ansible_output = config.suppress_output_file = True
    config.pexpect_timeout = _POLL_SECONDS
    here = {key: value for key, value in os.environ.items() if key in _KEPT}
    theirs = {key: value for key, value in config.env.items() if key.startswith(("ANSIBLE_C", "ANSIBLE_S", "AWX_"))}
    ours = {"LC_ALL": "C.UTF-8", "TERM": "dumb", "MAX_EVENT_RES": str(_LONGEST_RESULT)}
    config.env = {**here, **theirs, **ours, **({"ANSIBLE_DISPLAY_SKIPPED_HOSTS": "1"} if diff else {})}
    begin = [sys.executable, "-IS", str(_HERE / "begin_play.py"), str(room / "pid"), str(os.getpid())]
    config.command = [*begin, _program(), *config.command[1:]]
    runner = Runner(config, event_handler=heard)
    _end_at_once()
    runner.run()
    return int(runner.rc)


@cache
def _end_at_once() -> None:
    """Have no run wait a tenth of a second at its end: pexpect does, for what the runner knows to have ended by then."""
    import pexpect

    class Program(pexpect.spawn):  # type: ignore[misc]
        def _spawnpty(self, args: list[bytes], **kwargs: Any) -> Any:
            made = super()._spawnpty(args, **kwargs)
            made.delayafterclose = 0
            return made

    pexpect.spawn = Program


def _program() -> str:
    """Where ``ansible-playbook`` is: beside our own program. By its path, from which it finds what answers ssh's questions."""
    for folder in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if (path := folder / "ansible-playbook").is_file():
            return str(path)
    found = shutil.which("ansible-playbook")
    if found is None:
        raise PaictlError("ansible-playbook is not installed", help="Reinstall paictl: ansible-core comes with it.")
    return found


def _end(room: Path) -> None:
    """Have Ansible and its workers end, when they have not: we are leaving before them."""
    import psutil

    with suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
        psutil.Process(int((room / "pid").read_text(encoding="ascii"))).terminate()
    patient_until = time.monotonic() + _END_SECONDS
    given_up, quiet = patient_until + _END_SECONDS, 0
    # Twice nobody: while one looks, somebody who was not looked at yet may begin another one and end.
    while quiet < 2 and time.monotonic() < given_up:
        theirs = _of(room)
        quiet = 0 if theirs else quiet + 1
        for one in theirs if time.monotonic() > patient_until else ():
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(theirs, timeout=_LOOK_SECONDS)


def _of(room: Path) -> list[psutil.Process]:
    """Whatever was begun for this room, by its environment: a worker that outlives Ansible is nobody's child."""
    import psutil

    # ssh keeps the connection for the next run, and writes to no room.
    return [
        one
        for one in psutil.process_iter(["name", "environ"])
        if one.info["name"] != "ssh" and any(str(room) in value for value in (one.info["environ"] or {}).values())
    ]
