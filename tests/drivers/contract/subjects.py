"""What each driver brings to the contract suite. A new driver adds one class and one line to ``SUBJECTS``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from paictl.drivers.fake import FakeDriver, Thing
from paictl.engine.driver import Driver, Scope, SecretReader
from paictl.engine.model import Address, Resource
from tests.drivers.ansible.subject import ansible
from tests.drivers.docker.subject import docker
from tests.drivers.kubernetes.subject import kubernetes
from tests.drivers.native.subject import native
from tests.engine.graphs import SCOPE, at, graph, no_secrets

__all__ = ["SUBJECTS", "Subject"]


class Subject(Protocol):
    """A driver at a target of its own, with a small stack to put there.

    ``first`` is the stack: at least a thing that holds data (``data``), a service with a probe (``service``), and one that
    needs it. ``second`` is the same with ``service`` changed, ``third`` the same as ``first`` without ``extra``.
    """

    driver: Driver
    scope: Scope
    secrets: SecretReader
    first: Sequence[Resource]
    second: Sequence[Resource]
    third: Sequence[Resource]
    data: Address
    service: Address
    extra: Address

    def reopen(self) -> Driver:
        """Another connection to the same target, as another process has."""
        ...

    def stop(self, address: Address) -> None:
        """Have a service die, as if it had crashed for good."""
        ...

    def place(self, resource: Resource) -> None:
        """Put something at the resource's address that is not paictl's."""
        ...

    def stands(self, address: Address) -> bool:
        """Whether anything is at that address, whoever made it."""
        ...

    def leftovers(self) -> Sequence[str]:
        """Everything on the target that the stack has left there: processes, files, volumes."""
        ...


Factory = Callable[[Path], AbstractContextManager[Subject]]


@dataclass
class _Fake:
    folder: Path

    def __post_init__(self) -> None:
        words: dict[str, dict[str, Any]] = {
            "volume/memory": {"data": True, "spec": {"path": "data"}},
            "service/gateway": {"needs": ["volume/memory"], "spec": {"port": 1, "sealed": "k1"}},
            "service/agent": {"needs": ["service/gateway"], "spec": {"door": "gateway"}},
            "file/extra": {"spec": {"path": "extra"}},
        }
        self.driver: Driver = self.reopen()
        self.scope, self.secrets = SCOPE, no_secrets
        self.first: Sequence[Resource] = graph(words)
        changed = {**words, "service/gateway": {"needs": ["volume/memory"], "spec": {"port": 2, "sealed": "k1"}}}
        self.second: Sequence[Resource] = graph(changed)
        self.third: Sequence[Resource] = graph({key: value for key, value in words.items() if key != "file/extra"})
        self.data, self.service, self.extra = at("volume/memory"), at("service/gateway"), at("file/extra")

    @property
    def _fake(self) -> FakeDriver:
        return FakeDriver(self.folder / "world.jsonl")

    def reopen(self) -> Driver:
        return self._fake

    def stop(self, address: Address) -> None:
        thing = self._fake.world.get((str(address), ""))
        assert thing is not None
        self._fake.world.put(replace(thing, running=False))

    def place(self, resource: Resource) -> None:
        self._fake.world.put(Thing(str(resource.address), resource.spec, owner="unlabelled"))

    def stands(self, address: Address) -> bool:
        return self._fake.world.get((str(address), "")) is not None

    def leftovers(self) -> Sequence[str]:
        return [thing.address for thing in self._fake.world.things.values()]


@contextmanager
def _fake(folder: Path) -> Iterator[Subject]:
    yield _Fake(folder)


SUBJECTS: Mapping[str, tuple[Factory, Sequence[pytest.MarkDecorator]]] = {
    "fake": (_fake, ()),
    "native": (native, ()),
    "docker": (docker, (pytest.mark.docker, pytest.mark.slow)),
    "kubernetes": (kubernetes, (pytest.mark.kubernetes, pytest.mark.slow)),
    "ansible": (ansible, (pytest.mark.hosts, pytest.mark.slow)),
}
