"""An apply or a destroy that kills itself at one point: ``python -m tests.drivers.native.killed VERB POINT SUBJECT PORT``."""

from __future__ import annotations

import os
import signal
import sys

from paictl import places
from paictl.drivers.native import NativeDriver
from paictl.engine.intent import Desired, Options
from paictl.engine.reconciler import Reconciler
from tests.drivers.native.conftest import World, small_blueprint


def main() -> None:
    verb, point, subject, port = sys.argv[1:]
    world = World(NativeDriver(), small_blueprint(unconfined=True, port=int(port)))
    world.secrets["declared"] = b"a-canary-of-the-test"

    def reached(where: str, what: str) -> None:
        if (where, what) == (point, subject):
            os.kill(os.getpid(), signal.SIGKILL)

    reconciler = Reconciler(
        scope=world.scope,
        driver=world.driver,
        state_dir=places.state_home(),
        secrets=world.read,
        who="alice",
        on_point=reached,
    )
    if verb == "apply":
        reconciler.apply(lambda: Desired.of(world.driver, world.blueprint, manifest="m", lock="l"))
    else:
        reconciler.destroy(Options())


if __name__ == "__main__":
    main()
