"""A cluster for developing, by hand: ``python -m tests.kubernetes start``, which prints the path of its kubeconfig.

It runs until ``stop``. ``load IMAGE ...`` gives its node images of the Docker engine of ``DOCKER_HOST``; ``archive`` tells which
file a cluster of others has to load for the tests.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import docker

from tests.kubernetes import build, images
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.lease import install, keep, unable
from tests.kubernetes.node import Node


def _start(asked: argparse.Namespace) -> str:
    install()
    if reason := unable():
        sys.exit(reason)
    build.servers()
    return str(keep(asked.directory, node=not asked.plane).kubeconfig)


def _stop(asked: argparse.Namespace) -> str:
    Cluster(asked.directory).stop()
    return ""


def _status(asked: argparse.Namespace) -> str:
    cluster = Cluster(asked.directory)
    return str(cluster.kubeconfig) if cluster.running else "none runs there"


def _load(asked: argparse.Namespace) -> str:
    node, engine = Node(Cluster(asked.directory)), docker.APIClient(os.environ.get("DOCKER_HOST"), version="auto")
    node.load_from(engine, *asked.image)
    engine.close()
    return "\n".join(one for one in node.images() if "@" not in one and not one.startswith("sha256:"))


def _archive(_: argparse.Namespace) -> str:
    return str(images.archive())


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.kubernetes")
    parser.add_argument("--directory", type=lambda path: Path(path).absolute(), default=build.home() / "kept")
    verbs = parser.add_subparsers(required=True)
    start = verbs.add_parser("start", help="begin it where it does not run, and build what it takes")
    start.add_argument("--plane", action="store_true", help="without a node: nothing that is scheduled runs")
    start.set_defaults(do=_start)
    verbs.add_parser("stop", help="end it, and forget what it stored").set_defaults(do=_stop)
    verbs.add_parser("status", help="the path of its kubeconfig, when it runs").set_defaults(do=_status)
    load = verbs.add_parser("load", help="give its node images of a Docker engine")
    load.add_argument("image", nargs="+")
    load.set_defaults(do=_load)
    verbs.add_parser("archive", help="the file with the tests' images").set_defaults(do=_archive)
    asked = parser.parse_args()
    print(asked.do(asked))


if __name__ == "__main__":
    _main()
