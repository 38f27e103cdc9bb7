"""A small stack of real containers for the tests of the driver: two services, a network, data, made from any image with Python."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import docker

from paictl.drivers.docker.containers import from_compose
from paictl.drivers.docker.driver import DockerDriver
from paictl.drivers.docker.naming import AGENT, engine_name, image_repository
from paictl.engine.driver import Scope
from paictl.engine.model import Address, Probe, Resource
from paictl.render.containers import digest
from tests.engine.graphs import no_secrets

__all__ = ["Stack", "made_stack"]

# Says what its configuration says, then answers nothing and waits.
_PROGRAM = """
import json, signal, sys
print(json.load(open("/srv/paictl/config/it.json"))["say"], flush=True)
open("/tmp/ready", "w").close()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.pause()
"""
_HARDENED: Mapping[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "init": True,
    "user": "65532:65532",
    "tmpfs": ["/tmp:uid=65532,gid=65532,mode=1777,size=16m,noexec,nosuid,nodev"],
    "restart": "unless-stopped",
    "logging": {"driver": "json-file", "options": {"max-size": "1m", "max-file": "1"}},
    "mem_limit": "64m",
    "memswap_limit": "64m",
    "pids_limit": 64,
    "stop_grace_period": "5s",
    "healthcheck": {"test": ["CMD", "test", "-e", "/tmp/ready"], "interval": "2s", "timeout": "5s", "retries": 3},
}


@dataclass
class Stack:
    """One agent's resources on the engine of the environment. ``say`` is what each service prints when it starts."""

    image: str
    agent: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")
    opened: list[DockerDriver] = field(default_factory=list)
    say: dict[str, str] = field(default_factory=lambda: {"inner": "hello", "outer": "hello"})

    @property
    def scope(self) -> Scope:
        return Scope(self.agent, "here")

    def driver(self) -> DockerDriver:
        """A connection of its own, as another process has; closed when the stack is cleared."""
        self.opened.append(DockerDriver())
        return self.opened[-1]

    @cached_property
    def api(self) -> docker.APIClient:
        """The engine, for looking at it and for doing things by hand."""
        return self.driver().connection.api

    def address(self, short: str) -> Address:
        kind, _, name = short.partition("/")
        return Address("here", "docker", kind, name)

    @property
    def alias(self) -> str:
        return f"{image_repository(self.agent, 'base')}:{digest(self.image)}"

    def resources(self) -> list[Resource]:
        """Dependencies first: an image, two networks, data, and two services of which one needs the other."""
        internal = {"internal": True, "options": {"com.docker.network.bridge.inhibit_ipv4": "true"}}
        return [
            self._made("image/base", {"reference": self.image, "tag": self.alias}),
            self._made("network/inside", internal, replace_on=frozenset({"internal", "options"})),
            self._made("network/extra", internal, replace_on=frozenset({"internal", "options"})),
            self._made("volume/door", {"options": {}}, holds_data=True),
            self.service("inner", "volume/door"),
            self.service("outer", "service/inner"),
        ]

    def service(self, name: str, *needs: str, **changes: Any) -> Resource:
        written = {
            **_HARDENED,
            "image": self.alias,
            "command": ["python3", "-c", _PROGRAM],
            "networks": ["inside"],
            "volumes": [{"type": "volume", "source": "door", "target": "/data"}] if "volume/door" in needs else [],
            **changes,
        }
        config = {"/srv/paictl/config/it.json": json.dumps({"say": self.say[name]})}
        spec = {**from_compose(name, written, config), "alias": name, "started_with": {}, "url": ""}
        wanted = ("image/base", "network/inside", *needs)
        return self._made(f"service/{name}", spec, *wanted, probe=Probe(30.0, 0.0), downtime=True)

    def _made(self, short: str, spec: Mapping[str, Any], *needs: str, **more: Any) -> Resource:
        pure = json.loads(json.dumps({"agent": self.agent, **spec}))
        return Resource(self.address(short), pure, tuple(self.address(one) for one in needs), **more)

    def leftovers(self) -> list[str]:
        """Everything on the engine that bears the agent's name or label."""
        api = self.driver().connection.api
        containers = [one["Names"][0] for one in api.containers(all=True) if self._is_ours(one, one["Names"][0][1:])]
        others = (*api.networks(), *(api.volumes()["Volumes"] or ()))
        tags = [tag for one in api.images() for tag in one["RepoTags"] or () if f"/{self.agent}" in tag]
        return [*containers, *(one["Name"] for one in others if self._is_ours(one, one["Name"])), *tags]

    def _is_ours(self, thing: Mapping[str, Any], name: str) -> bool:
        return (thing.get("Labels") or {}).get(AGENT) == self.agent or name.startswith(
            (f"{self.agent}-", f"{self.agent}_")
        )

    def clear(self) -> None:
        """Remove all of it, whatever a test has done to it."""
        api = self.driver().connection.api
        for one in api.containers(all=True):
            if self._is_ours(one, one["Names"][0][1:]):
                api.remove_container(one["Id"], force=True)
        for network in api.networks():
            if self._is_ours(network, network["Name"]):
                # Old engines keep a place for a container that crashed while it was put there.
                left: Any = api.inspect_network(network["Id"])
                for place in left["Containers"] or ():
                    api.disconnect_container_from_network(place, network["Id"], force=True)
                api.remove_network(network["Id"])
        for volume in api.volumes()["Volumes"] or ():
            if self._is_ours(volume, volume["Name"]):
                api.remove_volume(volume["Name"], force=True)
        for tag in self.leftovers():
            api.remove_image(tag, force=True)
        for driver in self.opened:
            driver.connection.close()

    def engine_name(self, name: str) -> str:
        return engine_name(self.agent, name)

    secrets = staticmethod(no_secrets)


@contextmanager
def made_stack(image: str) -> Iterator[Stack]:
    """A stack of its own, gone afterwards."""
    stack = Stack(image)
    try:
        yield stack
    finally:
        stack.clear()
