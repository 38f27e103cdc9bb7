"""What the Kubernetes driver brings to the contract suite: two services and data on a real cluster, and settings as the extra."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from paictl.drivers.kubernetes.documents import document_of
from paictl.drivers.kubernetes.kinds import kind_of
from paictl.engine.driver import Driver, Scope, SecretReader
from paictl.engine.model import Address, Resource
from tests.drivers.kubernetes.stack import Stack, made_stack
from tests.kubernetes.access import Access
from tests.waiting import until

__all__ = ["kubernetes"]


class _Kubernetes:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.driver: Driver = stack.driver()
        self.scope: Scope = stack.scope
        self.secrets: SecretReader = stack.secrets
        self.first: Sequence[Resource] = stack.resources()
        stack.say["inner"] = "something else"
        self.second: Sequence[Resource] = stack.resources()
        self.extra = stack.address("configmap/extra")
        self.third: Sequence[Resource] = [one for one in self.first if one.address != self.extra]
        self.data, self.service = stack.address("volume/door"), stack.address("service/inner")

    def reopen(self) -> Driver:
        return self._stack.driver()

    def stop(self, address: Address) -> None:
        self._kubectl("scale", f"statefulset/{address.name}", "--replicas=0")
        until(lambda: not self._kubectl("get", "pod", f"{address.name}-0", "--ignore-not-found"), "the pod's end", 30)

    def place(self, resource: Resource) -> None:
        document = document_of(resource.spec, self._stack.namespace, resource.address.name)
        self._stack.access.apply(document)

    def stands(self, address: Address) -> bool:
        kind = next(kind_of(one.spec) for one in self.first if one.address == address)
        return bool(self._kubectl("get", kind.plural, address.name, "--ignore-not-found"))

    def leftovers(self) -> Sequence[str]:
        return self._stack.leftovers()

    def _kubectl(self, *arguments: str) -> str:
        return self._stack.access.kubectl(f"--namespace={self._stack.namespace}", *arguments)


@contextmanager
def kubernetes(_folder: Path) -> Iterator[_Kubernetes]:
    """An agent of its own on the cluster that ``KUBECONFIG`` names."""
    with made_stack(Access(Path(os.environ["KUBECONFIG"]))) as stack:
        yield _Kubernetes(stack)
