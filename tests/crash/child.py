"""The process that dies: a fork server that imports the engine once, and forks a real process for each run.

Reads one JSON line a run: ``{"folder", "agent", "namespace", "verb", "desired", "data", "kill", "trace", "die"}``; answers
``{"status", "error"}``. With an ``agent`` it is one on the Docker engine of the environment, with a ``namespace`` besides one in
the cluster of ``KUBECONFIG``, without it is the fake world's. ``kill`` is the point, what it is about, and the how-manieth time
(with the point ``any``, of all); ``data``: it goes, too; ``status`` is negative for a signal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from paictl.drivers.docker.driver import DockerDriver
from paictl.drivers.fake import Faults
from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.driver import KubernetesDriver
from paictl.engine.codec import resource_from_json
from paictl.engine.driver import Scope
from paictl.engine.intent import Desired, Options
from paictl.engine.points import OnPoint, Point
from paictl.engine.reconciler import Reconciler
from paictl.errors import PaictlError
from tests.engine.graphs import Bench, no_secrets


def _run(order: dict[str, Any]) -> None:
    kill = tuple(order["kill"] or ())
    times: Counter[tuple[str, str]] = Counter()

    def on_point(point: Point, about: str) -> None:
        times[point, about] += 1
        times["any", ""] += 1
        here = (point, about, times[point, about])
        if order["trace"]:
            with Path(order["trace"]).open("a", encoding="utf-8") as file:
                file.write(json.dumps(here) + "\n")
        if kill in (here, ("any", "", times["any", ""])):
            os.kill(os.getpid(), signal.SIGKILL)

    reconciler = _reconciler(order, on_point)
    scope, driver = reconciler.scope, reconciler.driver.name
    desired = Desired(tuple(resource_from_json(one, scope.target, driver) for one in order["desired"]))
    if order["verb"] == "apply":
        reconciler.apply(lambda: desired)
    elif order["verb"] == "destroy":
        data = [str(one.address) for one in desired.resources if one.holds_data and order["data"]]
        reconciler.destroy(Options(delete_data=frozenset(data)))
    else:
        reconciler.rollback(1)


def _reconciler(order: dict[str, Any], on_point: OnPoint) -> Reconciler:
    folder = Path(order["folder"])
    if not order["agent"]:
        return Bench(folder, faults=Faults(die=set(order["die"])), on_point=on_point).reconciler()
    return Reconciler(
        scope=Scope(order["agent"], "here"),
        driver=KubernetesDriver(Connection(), order["namespace"]) if order["namespace"] else DockerDriver(),
        state_dir=folder / "state",
        secrets=no_secrets,
        who="alice",
        on_point=on_point,
    )


def main() -> None:
    """Serve until the standard input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                _run(order)
            except PaictlError as error:
                os.write(writing, str(error).encode())
                os._exit(1)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it must not go on as a second server
                os.write(writing, repr(error).encode())
                os._exit(70)
            os._exit(0)
        os.close(writing)
        _, status = os.waitpid(pid, 0)
        with os.fdopen(reading, "rb") as said:
            answer = {"status": os.waitstatus_to_exitcode(status), "error": said.read().decode()}
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
