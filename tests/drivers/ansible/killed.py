"""A verb that is killed with -9 at one moment: ``python -m tests.drivers.ansible.killed``, its order as JSON on standard input.

``at``: a point and the address that it is about, or ``task`` and the name of one of Ansible's that begins; empty: it lives.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Literal

from paictl.drivers.ansible.driver import AnsibleDriver
from paictl.drivers.ansible.hosts import Hosts, Login
from paictl.engine.codec import resource_from_json
from paictl.engine.driver import Scope
from paictl.engine.intent import Desired, Options
from paictl.engine.reconciler import Reconciler
from paictl.events import Event


def main() -> None:
    """Carry out the order."""
    order: dict[str, Any] = json.load(sys.stdin)
    at = tuple(order["at"])

    def passed(point: str, about: str) -> None:
        if (point, about) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_point(point: str, about: str) -> None:
        # What a step is called depends on how far an earlier run came; what it is about does not.
        passed(point, about.partition(":")[2])

    def emit(event: Event) -> None:
        if event.data.get("status") == "begin":
            passed("task", str(event.data.get("task")))

    def passwords(_name: str, use: Literal["login", "become", "asked"]) -> str | None:
        return order["password"] if use == "become" else None

    logins = {one["name"]: Login(**one) for one in order["logins"]}
    scope = Scope(order["agent"], order["target"])
    driver = AnsibleDriver(Hosts(logins, passwords, Path(order["keys"])))
    desired = tuple(resource_from_json(one, scope.target, driver.name) for one in order["desired"])
    reconciler = Reconciler(
        scope=scope,
        driver=driver,
        state_dir=Path(order["state"]),
        secrets=lambda name: f"the value of {name}".encode(),
        who="alice",
        emit=emit,
        on_point=on_point,
    )
    if order["verb"] == "apply":
        reconciler.apply(lambda: Desired(desired))
    else:
        data = [str(one.address) for one in desired if one.holds_data]
        reconciler.destroy(Options(delete_data=frozenset(data)))


if __name__ == "__main__":
    main()
