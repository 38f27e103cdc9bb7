"""Which cluster the tests use: the one that is given, else one of their own, which ends with the last that uses it.

Used by the fixtures and the lane. ``PAICTL_TEST_KUBECONFIG`` gives one, such as of kind or k3s; a plain ``KUBECONFIG`` does not, so
that nobody's real cluster is taken by mistake.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.kubernetes.access import Access, Refused
from tests.kubernetes.build import built, home
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.node import Node
from tests.waiting import until

__all__ = ["Lease", "given", "install", "keep", "lacking", "lease", "unable"]

_VARIABLE = "PAICTL_TEST_KUBECONFIG"
# Programs and the Debian packages that have them.
_NEEDED = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "nft": "nftables",
    "setpriv": "util-linux",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
}
# A namespace takes its time to end, and takes everything else that a test leaves along.
_END_SECONDS = 60
_KINDS = "namespaces,persistentvolumes,clusterroles,clusterrolebindings,customresourcedefinitions"


@dataclass(frozen=True)
class Lease:
    """The use of a cluster until ``close``; a process that is killed has closed it, too.

    ``cluster`` and ``node`` are None when it is not ours, and ``node`` where there is none.
    """

    access: Access
    cluster: Cluster | None
    node: Node | None
    directory: Path
    users: IO[str]
    count: IO[str]

    def close(self) -> list[str]:
        """Give it back. The last user is told what was left behind."""
        with _alone(self.directory), self.users, self.count:
            if not _only_user(self.count):
                return []
            before = {*json.loads(_before(self.directory).read_text("utf-8"))}
            with suppress(AssertionError):
                until(lambda: {*_things(self.access)} <= before, "the end of what tests made", _END_SECONDS)
            return sorted({*_things(self.access)} - before)


def given() -> Path | None:
    """The kubeconfig of the cluster that is to be used instead of our own."""
    path = os.environ.get(_VARIABLE)
    return Path(path) if path else None


def install() -> None:
    """Have Debian's packages that are missing, where this user may; otherwise ``lacking`` names them."""
    missing = _missing()
    if not given() and missing and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=quiet, stdout=subprocess.DEVNULL, check=False)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=False)


def lacking() -> str:
    """Why no cluster can be had here at once, and what would change that; empty when one can."""
    if reason := unable():
        return reason
    return "" if given() or built() else "its servers are built by: python -m tests.kubernetes.build"


def unable() -> str:
    """Why this machine can have none, whatever is built."""
    if path := given():
        try:
            Access(path).kubectl("get", "--raw=/readyz")
        except (Refused, subprocess.TimeoutExpired) as refused:
            return f"no cluster answers with {path} ({_VARIABLE}): {refused}"
        return ""
    if os.geteuid() != 0:
        return f"only root can start a cluster of our own; or set {_VARIABLE}"
    if missing := _missing():
        return f"it needs: apt-get install --no-install-recommends {' '.join(missing)}"
    return _forbidden()


def _missing() -> list[str]:
    return sorted({package for program, package in _NEEDED.items() if shutil.which(program) is None})


def _forbidden() -> str:
    """What this machine does not let root do, as in a plain container or a chroot."""
    if not any(Path("/sys/fs/cgroup").glob("*")):
        return (
            f"no control groups are mounted at /sys/fs/cgroup, as in a chroot: use a real machine, or set {_VARIABLE}"
        )
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc"]
    for what, command in (("make namespaces", "true"), ("use nftables", "nft add table inet paictl_test")):
        tried = subprocess.run([*namespaces, *command.split()], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            told = (tried.stderr.strip().splitlines() or ["no word said"])[-1]
            return f"root can't {what} here, as in a plain container ({told}): use a real machine, or set {_VARIABLE}"
    return ""


def lease(*, node: bool) -> Lease:
    """Use the cluster that is given or our own, which is started when nobody uses it yet. ``lacking`` must be empty."""
    path = given()
    name = f"given-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}" if path else "node" if node else "plane"
    directory = home() / name
    directory.mkdir(parents=True, exist_ok=True)
    cluster = None if path else Cluster(directory)
    access = cluster.access if cluster else Access(path or directory)
    with _alone(directory):
        users, count = ((directory / name).open("a", encoding="ascii") for name in ("users.lock", "count.lock"))
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while an earlier one is ending
        first = _only_user(count)
        if cluster and not cluster.running:
            _start(cluster, directory / "users.lock", node=node)
        if first:
            _before(directory).write_text(json.dumps(_things(access)), encoding="utf-8")
        fcntl.flock(count, fcntl.LOCK_SH)
    return Lease(access, cluster, Node(cluster) if cluster and node else None, directory, users, count)


def keep(directory: Path, *, node: bool) -> Cluster:
    """A cluster that runs until it is stopped by hand; one that runs already stays as it is."""
    directory.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(directory)
    with _alone(directory):
        if not cluster.running:
            _start(cluster, None, node=node)
    return cluster


def _start(cluster: Cluster, users: Path | None, *, node: bool) -> None:
    try:
        cluster.start(users)
        if node:
            Node(cluster).start()
    except BaseException:
        cluster.namespaces.end()
        raise


def _things(access: Access) -> list[str]:
    return access.kubectl("get", _KINDS, "--output=name").split()


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    with (directory / "start.lock").open("a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _only_user(count: IO[str]) -> bool:
    """Whether nobody else has a lease; if so, this one is exclusive until it is shared or closed."""
    try:
        fcntl.flock(count, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _before(directory: Path) -> Path:
    return directory / "before.json"
