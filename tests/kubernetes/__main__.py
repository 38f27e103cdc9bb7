"""A cluster for developing, by hand: ``python -m tests.kubernetes start|stop|status [DIRECTORY]``.

It runs until it is stopped, with a node that runs pods; ``start`` builds the servers when that was not done, and prints the path of
the kubeconfig. ``start-plane`` leaves the node out.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.kubernetes import build
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.lease import install, keep, lacking

_USAGE = "usage: python -m tests.kubernetes start|start-plane|stop|status [DIRECTORY]"


def _main(arguments: list[str]) -> str:
    verb, directory = arguments[0] if arguments else "", Path(arguments[1] if arguments[1:] else build.home() / "kept")
    cluster = Cluster(directory.absolute())
    if verb in {"start", "start-plane"}:
        install()
        build.servers()
        if reason := lacking():
            sys.exit(reason)
        keep(cluster.directory, node=verb == "start")
        return str(cluster.kubeconfig)
    if verb == "stop":
        cluster.stop()
        return ""
    if verb == "status":
        return str(cluster.kubeconfig) if cluster.running else "none runs there"
    sys.exit(_USAGE)


if __name__ == "__main__":
    print(_main(sys.argv[1:]))
