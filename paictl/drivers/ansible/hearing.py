"""What Ansible says of a run, event by event: summed up for each host, and passed on to who watches. Made by ``running``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from paictl.drivers.ansible.hosts import Login
from paictl.drivers.ansible.troubles import nothing_was_said, task_failed, was_reached, why_unreachable
from paictl.events import Emit, Event

__all__ = ["Heard", "HostRun", "Told"]

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


class Heard:
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
