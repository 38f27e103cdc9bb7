"""The process that dies: a fork server that imports the engine once, and forks a real process for each run.

Reads one JSON line a run: ``{"folder", "verb", "desired", "kill", "trace", "die"}``; answers ``{"status", "error"}``. ``kill`` is
the point, what it is about, and the how-manieth time; ``status`` is negative for a signal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from paictl.drivers.fake import Faults
from paictl.engine.codec import resource_from_json
from paictl.engine.intent import Desired, Options
from paictl.engine.points import Point
from paictl.errors import PaictlError
from tests.engine.graphs import SCOPE, Bench


def _run(order: dict[str, Any]) -> None:
    kill = tuple(order["kill"] or ())
    times: Counter[tuple[str, str]] = Counter()

    def on_point(point: Point, about: str) -> None:
        times[point, about] += 1
        here = (point, about, times[point, about])
        if order["trace"]:
            with Path(order["trace"]).open("a", encoding="utf-8") as file:
                file.write(json.dumps(here) + "\n")
        if here == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    bench = Bench(Path(order["folder"]), faults=Faults(die=set(order["die"])), on_point=on_point)
    reconciler = bench.reconciler()
    desired = Desired(tuple(resource_from_json(one, SCOPE.target, "fake") for one in order["desired"]))
    if order["verb"] == "apply":
        reconciler.apply(lambda: desired)
    elif order["verb"] == "destroy":
        data = frozenset(str(one.address) for one in desired.resources if one.holds_data)
        reconciler.destroy(Options(delete_data=data))
    else:
        reconciler.rollback(1)


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
