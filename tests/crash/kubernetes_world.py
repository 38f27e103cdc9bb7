"""One agent's small stack in a cluster as the crash matrix needs it: two versions of it, and all there is of it to compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paictl.drivers.kubernetes.naming import TRIED
from paictl.engine.model import Resource
from tests.crash.docker_world import Chapter
from tests.crash.matrix import Graphs, Kill, Server
from tests.drivers.kubernetes.stack import Stack

__all__ = ["ClusterLife"]

_KINDS = "configmaps,secrets,persistentvolumeclaims,services,deployments,statefulsets,networkpolicies,leases,pods"
_FILE = "/data/door/diary.txt"
# What the cluster gives each of its own.
_GIVEN = ("clusterIP", "clusterIPs", "volumeName", "nodeName")


@dataclass(frozen=True)
class ClusterLife:
    """An agent that is led through its life by processes of their own, which may be killed; in a namespace of its own."""

    server: Server
    stack: Stack
    folder: Path

    @property
    def graphs(self) -> Graphs:
        """Before and after a change of everything at once: one replaced, one updated, one less and one more."""
        first, second = self._version("hello"), self._version("something else")
        gone, more = self.stack.address("configmap/extra"), self.stack.address("configmap/more")
        extra = next(one for one in first if one.address == gone)
        return first, (*(one for one in second if one.address != gone), replace(extra, address=more))

    def _version(self, say: str) -> tuple[Resource, ...]:
        stack, first = self.stack, say == "hello"
        stack.say = dict.fromkeys(stack.say, say)
        extra, door, inner, _ = stack.resources()
        secret = {"agent": stack.agent, "kind": "Secret", "apiVersion": "v1", "generated": True, "content": ""}
        # What nobody may change, so that another one has to take its place.
        inner = replace(inner, spec={**inner.spec, "podManagementPolicy": "Parallel" if first else "OrderedReady"})
        return (
            extra,
            door,
            Resource(stack.address("secret/token"), secret, holds_data=True),
            stack.made("NetworkPolicy", "inner", {"spec": {"podSelector": {}, "policyTypes": ["Ingress"][:first]}}),
            inner,
        )

    def run(self, chapter: Chapter, kill: Kill | None = None, trace: Path | None = None) -> int:
        desired, stack = self.graphs[chapter.version], self.stack
        where = {"agent": stack.agent, "namespace": stack.namespace}
        return self.server.run(self.folder, chapter.verb, desired, kill, trace=trace, **where)

    def write(self, text: str) -> None:
        """Into its data, as the agent itself would."""
        self._exec("sh", "-c", f"echo '{text}' >{_FILE}")

    def diary(self) -> str:
        """What the data holds, while something runs that mounts it."""
        return self._exec("cat", _FILE).strip()

    def token(self) -> str:
        """A value that is made once."""
        return str(self.stack.access.get(self._here, "secret/token")["data"]["value"])

    def _exec(self, *argv: str) -> str:
        return self.stack.access.kubectl("exec", self._here, "pod/inner-0", "--", *argv)

    @property
    def _here(self) -> str:
        return f"--namespace={self.stack.namespace}"

    def seen(self) -> dict[str, Any]:
        """Everything of this agent in its namespace, its record there, and what is remembered here."""
        folder = self.folder / "state" / self.stack.agent / self.stack.scope.target
        assert not (folder / "journal.jsonl").exists()
        releases = [json.loads(path.read_text()) for path in sorted((folder / "releases").glob("*.json"))]
        state = json.loads((folder / "state.json").read_text())
        found = self.stack.access.get(_KINDS, self._here)["items"]
        told = [_told(one) for one in found if one["metadata"]["name"] != "kube-root-ca.crt"]
        return {
            "state": state,
            "releases": [{key: value for key, value in one.items() if key != "when"} for one in releases],
            **{f"{one['kind']}/{one['name']}": one for one in told},
        }


def _told(live: Mapping[str, Any]) -> dict[str, Any]:
    metadata, kind = live["metadata"], live["kind"]
    spec = {key: value for key, value in (live.get("spec") or {}).items() if key not in _GIVEN}
    notes = {key: value for key, value in (metadata.get("annotations") or {}).items() if key.startswith("paictl/")}
    about = {"kind": kind, "name": metadata["name"], "annotations": {**notes, TRIED: ""}}
    marks = {key: value for key, value in (metadata.get("labels") or {}).items() if "hash" not in key}
    if kind == "Pod":
        # Made anew after a crash or not, it is the same one that serves.
        said = [one.get("env") for one in spec["containers"]]
        return {**about, "labels": marks, "said": said, "goes": "deletionTimestamp" in metadata}
    data = live.get("data") if kind == "ConfigMap" else sorted(live.get("data") or ())
    return {**about, "labels": marks, "spec": spec, "data": data}
