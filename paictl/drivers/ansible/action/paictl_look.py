"""The action ``paictl_look``: tells a play what of one agent stands on a host. Run by the driver's ``observing``; changes nothing.

No module: those bring Ansible's own library along, which the host's Python would have to compile each time before it looks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.plugins.action import ActionBase

if TYPE_CHECKING:
    from collections.abc import Mapping

_ONHOST = Path(__file__).parent.parent / "onhost"
# What looks, each after those that it imports.
_SENT = ("disk", "services", "items", "machine", "records", "health", "looking")
# Isolated, and without what is installed beside the standard library.
_PYTHON = "/usr/bin/python3 -IS -"
_PROGRAM = """
import json, sys, types
asked = json.loads({asked!r})
whole = sys.modules["onhost"] = types.ModuleType("onhost")
whole.__path__ = []
for name, text in asked["sources"]:
    part = sys.modules["onhost." + name] = types.ModuleType("onhost." + name)
    part.__package__ = "onhost"
    setattr(whole, name, part)
    exec(compile(text, name + ".py", "exec"), part.__dict__)
try:
    found = part.look(asked["agent"], asked["target"])
except (OSError, ValueError) as error:
    found = {{"failed": True, "msg": str(error)}}
print("\\n" + json.dumps(found))
"""


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible publishes no types
    """The task's ``agent`` and ``target`` -> what ``onhost.looking.look`` found."""

    _VALID_ARGS = frozenset({"agent", "target"})

    def run(self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """In check mode, too: it changes nothing."""
        asked = {key: str(self._task.args[key]) for key in self._VALID_ARGS}
        said = self._low_level_execute_command(_PYTHON, in_data=_program(asked))
        return {**super().run(tmp, task_vars), **_heard(said)}


def _program(asked: Mapping[str, str]) -> bytes:
    sources = [(name, (_ONHOST / f"{name}.py").read_text(encoding="utf-8")) for name in _SENT]
    return _PROGRAM.format(asked=json.dumps({**asked, "sources": sources})).encode("ascii")


def _heard(said: Mapping[str, Any]) -> dict[str, Any]:
    """Its last line, whatever the host's shell or sudo said before it."""
    *_, last = said["stdout"].splitlines() or [""]
    if said["rc"] == 0 and last.startswith("{"):
        found: dict[str, Any] = json.loads(last)
        return found
    told = {"module_stdout": said["stdout"], "module_stderr": said["stderr"], "rc": said["rc"]}
    return {"failed": True, "msg": "Looking ended before it began", **told}
