"""A small stack of real pods for the tests of the driver: two services, data, settings, made from the tests' small image."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from paictl.drivers.kubernetes.connection import Connection
from paictl.drivers.kubernetes.documents import spec_of
from paictl.drivers.kubernetes.driver import KubernetesDriver
from paictl.drivers.kubernetes.kinds import KINDS, fixed_in
from paictl.drivers.kubernetes.naming import AGENT, DRIVER
from paictl.engine.driver import Scope
from paictl.engine.model import Address, Probe, Resource
from tests.engine.graphs import no_secrets
from tests.kubernetes.access import Access
from tests.kubernetes.images import TINY

__all__ = ["Stack", "made_stack"]

_EVERY = "configmaps,secrets,persistentvolumeclaims,services,deployments,statefulsets,pods,leases,jobs"
_CONFINED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
# Says what it is to say, and waits.
_PROGRAM = 'trap "exit 0" TERM; echo "$SAY"; touch /tmp/ready; while :; do sleep 1 & wait $!; done'


@dataclass
class Stack:
    """One agent's resources in a namespace of its own. ``say`` is what each service prints when it starts."""

    access: Access
    namespace: str
    agent: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")
    opened: list[KubernetesDriver] = field(default_factory=list)
    say: dict[str, str] = field(default_factory=lambda: {"inner": "hello", "outer": "hello"})

    @property
    def scope(self) -> Scope:
        return Scope(self.agent, "here")

    def driver(self) -> KubernetesDriver:
        """A connection of its own, as another process has; closed when the stack is cleared."""
        self.opened.append(KubernetesDriver(Connection(), self.namespace))
        return self.opened[-1]

    def address(self, short: str) -> Address:
        kind, _, name = short.partition("/")
        return Address("here", DRIVER, kind, name)

    def resources(self) -> list[Resource]:
        """Dependencies first: settings, data, and two services of which one needs the other."""
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}
        return [
            self.made("ConfigMap", "extra", {"data": {"it": "1"}}),
            self.made("PersistentVolumeClaim", "door", {"spec": claim}, holds_data=True),
            self.service("StatefulSet", "inner", "volume/door"),
            self.service("Deployment", "outer", "service/inner"),
        ]

    def service(self, kind: str, name: str, *needs: str, **changes: Any) -> Resource:
        """One that waits; ``changes`` are fields of its container."""
        marks = {"app.kubernetes.io/instance": self.agent, "app.kubernetes.io/component": name}
        spec: dict[str, Any] = {
            "replicas": 1,
            "selector": {"matchLabels": marks},
            "template": {"metadata": {"labels": marks}, "spec": self._pod(name, needs, changes)},
        }
        if kind == "StatefulSet":
            spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}
        return self.made(kind, name, {"spec": spec}, *needs, probe=Probe(180.0, 0.0), downtime=kind == "StatefulSet")

    def _pod(self, name: str, needs: tuple[str, ...], changes: Mapping[str, Any]) -> dict[str, Any]:
        held = [one.partition("/")[2] for one in needs if one.startswith("volume/")]
        container = {
            "name": name,
            "image": TINY,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sh", "-c", _PROGRAM],
            "env": [{"name": "SAY", "value": self.say[name]}],
            "securityContext": _CONFINED,
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1},
            "volumeMounts": [
                {"name": "tmp", "mountPath": "/tmp"},
                *({"name": one, "mountPath": f"/data/{one}"} for one in held),
            ],
            **changes,
        }
        return {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [
                {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                *({"name": one, "persistentVolumeClaim": {"claimName": one}} for one in held),
            ],
        }

    def made(self, kind: str, name: str, content: Mapping[str, Any], *needs: str, **more: Any) -> Resource:
        """The resource of one document."""
        known = KINDS[kind]
        document = {"apiVersion": known.api_version, "kind": kind, "metadata": {"name": name}, **content}
        spec = json.loads(json.dumps(spec_of(self.agent, document)))
        wanted = tuple(self.address(one) for one in needs)
        return Resource(self.address(f"{known.word}/{name}"), spec, wanted, replace_on=fixed_in(document), **more)

    def objects(self) -> list[Any]:
        """Everything of the namespace that bears the agent's label or name."""
        found = self.access.get(_EVERY, f"--namespace={self.namespace}")["items"]
        return [one for one in found if self._is_ours(one["metadata"])]

    def _is_ours(self, metadata: Mapping[str, Any]) -> bool:
        marks = metadata.get("labels") or {}
        return self.agent in {marks.get(AGENT), marks.get("app.kubernetes.io/instance")}

    def leftovers(self) -> list[str]:
        return [f"{one['kind']}/{one['metadata']['name']}" for one in self.objects()]

    secrets = staticmethod(no_secrets)


@contextmanager
def made_stack(access: Access) -> Iterator[Stack]:
    """A stack in a namespace of its own, gone afterwards."""
    name = f"paictl-test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    access.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    stack = Stack(access, name)
    try:
        yield stack
    finally:
        for driver in stack.opened:
            driver.connection.close()
        # Its end takes seconds, which the next test need not wait for; the last user of the cluster does.
        access.kubectl("delete", "namespace", name, "--wait=false")
