"""A person's home of their own for one story, whose agent lives in the pods of the tests' cluster."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.kubernetes.access import Access
from tests.kubernetes.documents import forwarded
from tests.kubernetes.lease import Lease
from tests.story.home import Home
from tests.waiting import until

__all__ = ["KubernetesHome"]

_GONE_SECONDS = 60
_WORKLOADS = "deployments,statefulsets"
_HASH = re.compile(r"-[0-9a-f]{12}$")
_OWNERS = frozenset({"ReplicaSet", "StatefulSet"})


@dataclass
class KubernetesHome(Home):
    """``held`` is the cluster; the agent and its namespace have a name of this home's own, since a cluster is shared.

    ``image`` is the runtime's, once it was brought there.
    """

    held: Lease | None = None
    image: str = ""

    def __post_init__(self) -> None:
        self.environment["KUBECONFIG"] = str(self.access.kubeconfig)

    @property
    def access(self) -> Access:
        assert self.held is not None
        return self.held.access

    @property
    def welcome(self) -> str:
        """An address on this machine ends with the command that forwards it."""
        return "paictl chat"

    def run(self, verb: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Type a command; nothing leads out of the tests' cluster, so what pods would fetch is brought to them."""
        offline = ("--offline",) if verb in {"apply", "rollback"} else ()
        return super().run(verb, *offline, *arguments, code=code)

    def steps(self) -> list[str]:
        """What is named by the hash of its content bears a word for that."""
        return sorted(_HASH.sub("-HASH", address) for address in super().steps())

    @contextmanager
    def gateway(self) -> Iterator[str]:
        with forwarded(self.access, self.agent, "service/gateway") as url:
            yield url

    def kubectl(self, *arguments: str) -> str:
        return self.access.kubectl(f"--namespace={self.agent}", *arguments)

    def pods(self, service: str = "") -> list[Any]:
        """Those that serve or are about to; what only fetches, or is on its way out, is none."""
        marks = f"app.kubernetes.io/instance={self.agent}"
        marks += f",app.kubernetes.io/component={service}" if service else ""
        found = self.access.get("pods", f"--namespace={self.agent}", f"--selector={marks}")["items"]
        return [one for one in found if _serves(one) and not one["metadata"].get("deletionTimestamp")]

    def running(self) -> dict[str, str]:
        """The pods' ids by service."""
        found: dict[str, list[str]] = {}
        for one in self.pods():
            service = one["metadata"]["labels"]["app.kubernetes.io/component"]
            found.setdefault(service, []).append(one["metadata"]["uid"])
        return {service: " ".join(sorted(ids)) for service, ids in found.items()}

    def switch_off(self) -> None:
        """No pod is left, nor anything on tmpfs: the cluster starts pods again by itself, so it is told to have none."""
        self.kubectl("scale", _WORKLOADS, "--all", "--replicas=0")
        self.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false")
        until(lambda: self.running() == {}, "the end of every pod", _GONE_SECONDS)

    def left(self) -> list[str]:
        """Whatever of it the cluster still has, but for volumes whose end is under way."""
        until(lambda: not self._volumes() or self._namespaces() != [], "the end of its volumes", _GONE_SECONDS)
        return [*self._namespaces(), *self._volumes(), *self._marked()]

    def clear(self) -> None:
        """Remove all of it, whatever became of the story."""
        self.access.kubectl("delete", "namespace", self.agent, "--ignore-not-found", "--wait=false")

    def _namespaces(self) -> list[str]:
        return self.access.kubectl("get", "namespace", self.agent, "--ignore-not-found", "--output=name").split()

    def _volumes(self) -> list[str]:
        found = self.access.get("persistentvolumes")["items"]
        return [one["metadata"]["name"] for one in found if one["spec"]["claimRef"]["namespace"] == self.agent]

    def _marked(self) -> list[str]:
        marks = f"--selector=app.kubernetes.io/instance={self.agent}"
        return self.access.kubectl("get", "clusterroles,clusterrolebindings,namespaces", marks, "--output=name").split()


def _serves(pod: Any) -> bool:
    owners = {one["kind"] for one in pod["metadata"].get("ownerReferences") or ()}
    return bool(owners & _OWNERS)
