"""What a plan that finds nothing to do costs on a cluster, beside kubectl's diff of the same documents.

Applies the quickstart on the cluster that the tests use; its image comes from the engine that they use.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.table import Lacking, Row
from tests.docker import engine
from tests.kubernetes import build, lease, runtime_image
from tests.kubernetes.costs import compared
from tests.kubernetes.home import KubernetesHome
from tests.kubernetes.proxy import Proxy, proxied

__all__ = ["run"]

_RUNS = 9
_BAR = 1.5


def run() -> list[Row]:
    """The rows about Kubernetes; raises ``Lacking`` where no cluster or no engine can be had."""
    lease.install()
    engine.install()
    if reason := lease.unable():
        raise Lacking(reason)
    if not lease.given():
        build.servers()
    held = lease.lease(node=True)
    try:
        if reason := runtime_image.lacking(held):
            raise Lacking(reason)
        with (
            runtime_image.opened(held) as workshop,
            tempfile.TemporaryDirectory() as folder,
            _applied(held, workshop, Path(folder)) as home,
        ):
            return _rows(home)
    finally:
        held.close()


@contextmanager
def _applied(held: lease.Lease, workshop: runtime_image.Workshop, folder: Path) -> Iterator[KubernetesHome]:
    home = KubernetesHome(folder, agent=f"bench-{secrets.token_hex(4)}", held=held)
    home.prepare()
    home.edit("{name: atlas,", f"{{name: {home.agent},")
    home.edit("{driver: native}", "{driver: kubernetes}")
    home.edit("spec:\n", f"spec:\n  images: {{base: '{workshop.base()}'}}\n")
    workshop.bring(home.manifest, home.surroundings())
    home.run("models", "pull")
    try:
        home.run("apply", "--yes")
        yield home
    finally:
        home.clear()


def _rows(home: KubernetesHome) -> list[Row]:
    costs = compared(home, runs=_RUNS)
    with proxied(home.access, home.folder) as proxy:
        asked = _asked(home, proxy)
    what = f"no-op plan, kubernetes, {costs.documents} documents"
    lists = sum(1 for verb, _ in asked if verb == "GET")
    return [
        Row(f"{what}, wall, of `kubectl diff --server-side`", costs.plan.wall / costs.server_diff.wall, "", _BAR),
        Row(f"{what}, wall, of `kubectl diff`", costs.plan.wall / costs.diff.wall, "", _BAR),
        Row(f"{what}, wall", costs.plan.wall, "s"),
        Row(f"{what}, CPU", costs.plan.cpu, "s"),
        Row("`kubectl diff --server-side` of them, wall", costs.server_diff.wall, "s"),
        Row("`kubectl diff` of them, wall", costs.diff.wall, "s"),
        Row(f"{what}, requests that list", lists, ""),
        Row(f"{what}, dry runs", len(asked) - lists, "", costs.documents),
    ]


def _asked(home: KubernetesHome, proxy: Proxy) -> list[tuple[str, str]]:
    home.environment["KUBECONFIG"] = str(proxy.access.kubeconfig)
    try:
        home.run("plan")
    finally:
        home.environment["KUBECONFIG"] = str(home.access.kubeconfig)
    return proxy.asked
