"""Whether a service is well, as the engine wants to be told it: asked on its host by ``onhost/health.py``. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from paictl.drivers.ansible.onhost import health as on_host
from paictl.drivers.ansible.shell import Shell
from paictl.engine.logend import with_log
from paictl.engine.model import Health

__all__ = ["probe", "read"]


def probe(shell: Shell, unit: str, check: Mapping[str, object] | None) -> Health:
    """A unit's health now; raises ``Unreachable``."""
    asked = ["python3", "-I", "-", unit, json.dumps(check)]
    done = shell.run(asked, stdin=_script())
    try:
        return read(json.loads(done.stdout))
    except (ValueError, KeyError, TypeError):
        said = done.stderr.decode("utf-8", "replace").strip()[-400:]
        return Health("unknown", f"its host could not tell: {said or f'python3 ended with {done.code}'}")


def read(told: Mapping[str, Any]) -> Health:
    """What ``onhost.health.health`` answered."""
    detail = with_log(told["detail"], told["log"]) if told["log"] else str(told["detail"])
    return Health(told["state"], detail, terminal=bool(told["terminal"]))


@cache
def _script() -> bytes:
    return Path(str(on_host.__file__)).read_bytes()
