"""Runs plays on the hosts of a target by ansible-runner, and tells what came of them. The only module that imports it.

What Ansible reads and writes lies in a directory in memory that is this user's alone, and goes with the run, however it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from paictl.assets import asset
from paictl.drivers.ansible.hosts import Hosts, Login, private
from paictl.drivers.ansible.inventory import configuration, inventory
from paictl.drivers.ansible.shell import Shell
from paictl.drivers.ansible.troubles import (
    nothing_was_said,
    task_failed,
    wants_password,
    was_reached,
    why_unreachable,
)
from paictl.errors import PaictlError
from paictl.events import Emit, Event, ignore

__all__ = ["HostRun", "Told", "run"]

_HERE = Path(__file__).parent
# Of what one task said: a look at a whole host is one.
_LONGEST_RESULT = 1 << 28
# What Ansible, ssh and the programs between need of our environment; secrets of the manifest may stand in the rest of it.
_KEPT = ("HOME", "LOGNAME", "PATH", "SSH_AGENT_PID", "SSH_AUTH_SOCK", "TZ", "USER", "XDG_RUNTIME_DIR")
_POLL_SECONDS = 1
# How long Ansible may take to end its workers before the kernel ends it.
_END_SECONDS = 5.0
# All that Ansible says of it; its event has no result then.
_WOULD_RUN = "Command would have run if not in check mode"
_STATUS = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_on_skipped": "skipped",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one task on one host: its name, its module, its result.

    ``would_run``: a program that check mode leaves out, since nobody but itself knows what it would do (told with ``diff``).
    """

    task: str
    action: str
    result: Mapping[str, Any]
    would_run: bool = False


@dataclass(frozen=True)
class HostRun:
    """What came of the plays on one host. ``unreachable`` and ``failed`` are texts for people, empty where it was not so.

    ``results``: task name -> result of the last task of that name, with ``failed`` and ``changed`` in it where they are true;
    what a rescue made good of is not ``failed`` here, but its result is. ``help`` goes with the text. ``told``: every task, in
    their order.
    """

    ok: bool = True
    unreachable: str = ""
    failed: str = ""
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    help: str = ""
    told: Sequence[Told] = ()


def run(  # noqa: PLR0913 - each is one word of a run, and named where it is given
    hosts: Hosts,
    plays: Sequence[Mapping[str, Any]],
    *,
    only: Sequence[str] = (),
    files: Mapping[str, str | bytes | Path] | None = None,
    check: bool = False,
    diff: bool = False,
    emit: Emit = ignore,
) -> Mapping[str, HostRun]:
    """One run of Ansible over all hosts, or ``only`` some: each host's own outcome, whatever became of the others.

    ``files``: path in the project's directory -> content; a ``Path`` is linked to. Raises ``PaictlError`` when Ansible itself
    could do nothing with the plays. Where sudo asked for a password that we come to know then, those hosts have a second run.
    """
    told = _Asked(hosts, plays, files or {}, check, diff, emit)
    found = _run(told, tuple(only) or tuple(hosts.logins))
    asking = tuple(name for name, one in found.items() if _asks(hosts, name, one))
    return {**found, **_run(told, asking)} if asking else found


@dataclass(frozen=True)
class _Asked:
    """What a caller wants to be done, but for the hosts."""

    hosts: Hosts
    plays: Sequence[Mapping[str, Any]]
    files: Mapping[str, str | bytes | Path]
    check: bool
    diff: bool
    emit: Emit


def _asks(hosts: Hosts, name: str, found: HostRun) -> bool:
    """Whether sudo wanted a password there that was not known before, and is now."""
    refused = any(wants_password(result) for result in found.results.values())
    return refused and hosts.passwords(name, "become") is None and hosts.passwords(name, "asked") is not None


def _run(asked: _Asked, names: Sequence[str]) -> dict[str, HostRun]:
    if not names:
        return {}
    heard = _Heard({name: asked.hosts.logins[name] for name in names}, asked.emit)
    with _room() as room:
        _write(room, asked, names)
        try:
            code = _playbook(room, heard, check=asked.check, diff=asked.diff)
        except BaseException:
            _end(room)
            raise
        if not heard.stats:
            raise _broken(heard, code)
    found = heard.outcomes()
    return found | {name: _explained(asked.hosts, name, found[name]) for name in heard.silent}


def _explained(hosts: Hosts, name: str, found: HostRun) -> HostRun:
    """With what sudo says when it is asked by hand, where it refused a task and its words were lost."""
    if found.ok:
        return found
    try:
        Shell(hosts, name).run(["true"])
    except PaictlError as error:
        trouble = task_failed(hosts.logins[name], "sudo", {"msg": error.summary})
        return replace(found, failed=trouble.summary, help=trouble.help or error.help)
    return found


@contextmanager
def _room() -> Iterator[Path]:
    """A directory in memory for one run. Those that a killed paictl left are removed first."""
    folder = private("plays")
    for left in folder.iterdir():
        if not Path(f"/proc/{left.name.partition('-')[0]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    room = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=folder))
    try:
        yield room
    finally:
        _remove(room)


def _remove(room: Path) -> None:
    """Also when something that is about to end puts a last file there meanwhile."""
    given_up = time.monotonic() + _END_SECONDS
    while room.exists() and time.monotonic() < given_up:
        shutil.rmtree(room, ignore_errors=True)


def _write(room: Path, asked: _Asked, names: Sequence[str]) -> None:
    project, scratch = room / "project", room / "scratch"
    for folder in (project, scratch):
        folder.mkdir(mode=0o700)
    for place, content in asked.files.items():
        path = project / place
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if isinstance(content, Path):
            path.symlink_to(content)
        else:
            _put(path, content if isinstance(content, bytes) else content.encode())
    paths = {
        "roles_path": [project / "roles", asset("roles")],
        "action_plugins": [_HERE / "action"],
        "library": [_HERE / "library"],
        "module_utils": [_HERE / "onhost"],
    }
    _put(project / "ansible.cfg", configuration(len(names), scratch, paths).encode())
    # JSON is YAML: what stands in the plays' texts is quoted once and well.
    _put(project / "playbook.yaml", json.dumps(list(asked.plays), ensure_ascii=False).encode())
    _put(room / "hosts.yaml", inventory(asked.hosts, names).encode())


def _put(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _playbook(room: Path, heard: _Heard, *, check: bool, diff: bool) -> int:
    """Ansible's exit code, once it has ended."""
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
        ansible = psutil.Process(int((room / "pid").read_text(encoding="ascii")))
        # ssh keeps the connection for the next run, and knows of no room.
        theirs = [ansible, *(one for one in ansible.children(recursive=True) if one.name() != "ssh")]
        ansible.terminate()
        _, still = psutil.wait_procs(theirs, timeout=_END_SECONDS)
        for one in still:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(still, timeout=_END_SECONDS)


class _Heard:
    """Listens to a run: sums up what it says of each host, and tells who watches."""

    def __init__(self, logins: Mapping[str, Login], emit: Emit) -> None:
        self.stats: Mapping[str, Mapping[str, int]] = {}
        self.words: list[str] = []
        self.silent: set[str] = set()
        self._logins = logins
        self._emit = emit
        self._results: dict[str, dict[str, Mapping[str, Any]]] = {name: {} for name in logins}
        self._told: dict[str, list[Told]] = {name: [] for name in logins}
        self._troubles: dict[str, HostRun] = {}

    def __call__(self, event: Mapping[str, Any]) -> bool:
        """One event of ansible-runner's; it needs not be kept."""
        kind, data = event["event"], event.get("event_data") or {}
        if kind in _STATUS:
            self._result(kind, data, str(event.get("stdout", "")))
        elif kind == "runner_on_start":
            self._tell(data, "begin")
        elif kind == "playbook_on_stats":
            self.stats = data
        elif event.get("stdout"):
            self.words.append(str(event["stdout"]))
        return False

    def _result(self, kind: str, data: Mapping[str, Any], said: str) -> None:
        host, task, result = str(data["host"]), str(data["task"]), dict(data.get("res") or {})
        if kind in {"runner_on_failed", "runner_on_unreachable"}:
            result["failed"] = True
            if not data.get("ignore_errors"):
                self._troubles[host] = self._trouble(host, task, result)
        self._results[host][task] = result
        would_run = kind == "runner_on_skipped" and _WOULD_RUN in said
        self._told[host].append(Told(task, str(data.get("task_action", "")), result, would_run))
        self._tell(data, "changed" if result.get("changed") and kind == "runner_on_ok" else _STATUS[kind])

    def _trouble(self, host: str, task: str, result: Mapping[str, Any]) -> HostRun:
        login = self._logins[host]
        if not was_reached(result):
            away = why_unreachable(login, str(result.get("msg", "")))
            return HostRun(ok=False, unreachable=away.summary, help=away.help)
        if nothing_was_said(result):
            self.silent.add(host)
        lost = task_failed(login, task, result)
        return HostRun(ok=False, failed=lost.summary, help=lost.help)

    def _tell(self, data: Mapping[str, Any], status: str) -> None:
        host, task = str(data["host"]), str(data["task"])
        said = {"what": f"{host}: {task}", "done": 0, "total": 0, "host": host, "task": task, "status": status}
        self._emit(Event("progress", "", said))

    def outcomes(self) -> dict[str, HostRun]:
        """Each host's, by Ansible's own count: what was rescued has not failed."""
        found = {}
        for host, results in self._results.items():
            lost = any(self.stats.get(kind, {}).get(host) for kind in ("dark", "failures"))
            trouble = self._troubles.get(host, HostRun(ok=False, failed=f"{host}: Ansible did not say what failed"))
            found[host] = replace(trouble if lost else HostRun(), results=results, told=self._told[host])
        return found


def _broken(heard: _Heard, code: int) -> PaictlError:
    """Ansible ended without having said what became of the hosts."""
    said = " ".join(" ".join(heard.words).split())
    return PaictlError(
        f"ansible-playbook ended with {code}: {said[-1500:] or 'it said nothing'}",
        help="This is a fault of paictl's plays or of the installation: `paictl doctor`, then please report it.",
    )
