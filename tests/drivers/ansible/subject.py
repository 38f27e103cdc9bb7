"""What the Ansible driver brings to the contract suite: data and a service on a real host, and a secret that needs it as the extra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from paictl.engine.driver import Driver, Scope, SecretReader
from paictl.engine.model import Address, Resource
from tests.drivers.ansible.stack import Shared, Stack, made_stack

__all__ = ["ansible"]


class _Ansible:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.driver: Driver = stack.driver()
        self.scope: Scope = stack.scope
        self.secrets: SecretReader = stack.secrets
        self.first: Sequence[Resource] = _small(stack)
        stack.say["gateway"] = "something else"
        self.second: Sequence[Resource] = _small(stack)
        self.extra = stack.address("secret/extra")
        self.third: Sequence[Resource] = [one for one in self.first if one.address != self.extra]
        self.data, self.service = stack.address("volume/memory"), stack.address("service/gateway")

    def reopen(self) -> Driver:
        return self._stack.driver()

    def stop(self, address: Address) -> None:
        self._stack.host.exec(["systemctl", "stop", self._unit(address)])

    def place(self, resource: Resource) -> None:
        path = f"/etc/paictl/{self._stack.agent}/secrets/{resource.address.name}"
        self._stack.host.exec(["sh", "-ec", 'mkdir -p "${1%/*}"; echo theirs >"$1"', "sh", path])

    def stands(self, address: Address) -> bool:
        agent = self._stack.agent
        where = {
            "runtime": f"/etc/systemd/system/paictl-{agent}.target",
            "volume": f"/var/lib/paictl/{agent}/data/{address.name}",
            "secret": f"/etc/paictl/{agent}/secrets/{address.name}",
            "service": f"/etc/systemd/system/{self._unit(address)}",
        }[address.kind]
        return bool(self._stack.host.exec(["sh", "-c", 'ls -d "$1" 2>/dev/null || true', "sh", where]))

    def leftovers(self) -> Sequence[str]:
        return self._stack.leftovers()

    def _unit(self, address: Address) -> str:
        return f"paictl-{self._stack.agent}-{address.name}.service"


def _small(stack: Stack) -> list[Resource]:
    """Dependencies first. Each service more is another play of seconds."""
    build, data, extra, gateway, _ = stack.resources()
    return [build, data, gateway, replace(extra, depends_on=(*extra.depends_on, gateway.address))]


@contextmanager
def ansible(_folder: Path) -> Iterator[_Ansible]:
    """An agent of its own on the host that the session's tests share."""
    shared = Shared.now()
    with made_stack([shared.host], shared.reached) as stack:
        yield _Ansible(stack)
