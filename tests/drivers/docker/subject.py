"""What the Docker driver brings to the contract suite: two services and data on a real engine, and a network as the extra."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from docker import APIClient

from paictl.engine.driver import Driver, Scope, SecretReader
from paictl.engine.model import Address, Resource
from tests.drivers.docker.stack import Stack, made_stack

__all__ = ["docker"]


class _Docker:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.driver: Driver = stack.driver()
        self.scope: Scope = stack.scope
        self.secrets: SecretReader = stack.secrets
        self.first: Sequence[Resource] = stack.resources()
        stack.say["inner"] = "something else"
        self.second: Sequence[Resource] = stack.resources()
        self.extra = stack.address("network/extra")
        self.third: Sequence[Resource] = [one for one in self.first if one.address != self.extra]
        self.data, self.service = stack.address("volume/door"), stack.address("service/inner")

    def reopen(self) -> Driver:
        return self._stack.driver()

    def stop(self, address: Address) -> None:
        self._api.kill(f"{self.scope.agent}-{address.name}-1")
        self._api.stop(f"{self.scope.agent}-{address.name}-1")

    def place(self, resource: Resource) -> None:
        self._api.create_network(
            self._stack.engine_name(resource.address.name),
            internal=True,
            options={"com.docker.network.bridge.inhibit_ipv4": "true"},
        )

    def stands(self, address: Address) -> bool:
        name = self._stack.engine_name(address.name)
        found: dict[str, Callable[[], object]] = {
            "image": lambda: self._api.images(self._stack.alias.partition(":")[0]),
            "network": lambda: [one for one in self._api.networks() if one["Name"] == name],
            "volume": lambda: [one for one in self._api.volumes()["Volumes"] or () if one["Name"] == name],
            "service": lambda: self._api.containers(
                all=True, filters={"name": [f"^/{self.scope.agent}-{address.name}-"]}
            ),
        }
        return bool(found[address.kind]())

    def leftovers(self) -> Sequence[str]:
        return self._stack.leftovers()

    @property
    def _api(self) -> APIClient:
        return self._stack.driver().connection.api


@contextmanager
def docker(_folder: Path) -> Iterator[_Docker]:
    """An agent of its own on the engine that ``DOCKER_HOST`` names."""
    with made_stack("paictl-test/base:bookworm") as stack:
        yield _Docker(stack)
