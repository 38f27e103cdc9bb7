"""An agent of the real graph that is quick to stand up: software of others only, on any image with a shell, and the keeper.

Its blueprint goes through the renderer and ``resources`` like every other; only the runtime's image is a small one, with what
the keeper needs. Used by the tests of drift, of replacement and of secrets' volumes.
"""

from __future__ import annotations

import io
import json
import secrets
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker

from paictl.blueprint.types import (
    Blueprint,
    ConfigFile,
    Endpoint,
    HealthCheck,
    RuntimePin,
    SecretFile,
    Service,
    Upstream,
    Volume,
)
from paictl.drivers.docker.naming import image_repository
from paictl.drivers.docker.resources import resources
from paictl.engine.intent import Options
from paictl.engine.model import Address, Resource
from paictl.engine.outcome import Applied
from paictl.engine.reconciler import Reconciler
from paictl.events import Event
from paictl.render.containers import digest
from tests.docker import stock
from tests.drivers.docker.stack import Stack
from tests.engine.graphs import wanting

__all__ = ["IDLE", "SECRET", "Small", "keeper_image", "made_small", "service"]

_SOURCES = Path(__file__).parents[2] / "paictl"
_ROOT, _UID = "/srv/paictl", 65532
# The least of the runtime's image that the keeper needs.
_DOCKERFILE = f"""
ARG BASE
FROM $BASE
COPY source /opt/paictl/source
RUN mkdir -p /opt/paictl/venv/bin && ln -s /usr/bin/python3 /opt/paictl/venv/bin/python && \
    install -d -o {_UID} -g {_UID} {_ROOT}/keys
ENV PYTHONPATH=/opt/paictl/source PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/opt/paictl/venv/bin/python"]
"""

IDLE = ("sh", "-c", "touch /tmp/ready; exec sleep 100000")
"""What a service does that has nothing to do: it is ready, and waits."""

SECRET = b"declared-canary"
"""The value of every declared secret."""


def service(name: str, command: Sequence[str] = IDLE, *, uid: int = 1000, public: int = 0, **more: Any) -> Service:
    """One of others' on the base image; ``public`` is the port of this machine that it is published at."""
    upstream = Upstream(
        "base",
        "",
        command=tuple(command),
        uid=uid,
        scratch=("/tmp",),
        healthy=("test", "-e", "/tmp/ready"),
    )
    endpoints = (Endpoint("http", 8080), *((Endpoint("people", public, public=True),) if public else ()))
    health = HealthCheck(None, timeout_seconds=40.0, stable_seconds=0.0)
    config = more.pop("config", None)
    return Service(
        name,
        role="model",
        module="",
        endpoints=endpoints,
        health=health,
        upstream=upstream,
        config=ConfigFile(f"config/{name}/{name}.json", config) if config else ConfigFile("", ""),
        stop_seconds=5.0,
        **more,
    )


@dataclass
class Small:
    """One such agent, and a person's desk. ``services``, and the ``uid`` of the door, may be changed between two applies.

    The door has the published port, the data and the secrets, and reaches those that reach nobody.
    """

    api: docker.APIClient
    keeper: str
    state: Path
    port: int
    uid: int = 1000
    services: dict[str, Service] = field(default_factory=dict)
    agent: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stack = Stack(stock.base(self.api), self.agent)

    @property
    def blueprint(self) -> Blueprint:
        door = service(
            "door",
            uid=self.uid,
            public=self.port,
            volumes=(Volume("door", "/data"),),
            secrets=("token", "api"),
            reaches=tuple(f"{name}/http" for name, one in self.services.items() if not one.reaches),
        )
        found = {"door": door} | self.services
        named = [replace(one, upstream=replace(one.upstream, reference=self.stack.image)) for one in found.values()]  # type: ignore[type-var] # all of them are others'
        return Blueprint(
            self.agent,
            "alice",
            "here",
            RuntimePin("0", "0" * 64),
            tuple(named),
            secrets=(
                SecretFile("token", "secrets/token", generated=True),
                SecretFile("api", "secrets/api", generated=False, fingerprint="f1"),
            ),
        )

    @property
    def resources(self) -> list[Resource]:
        """The graph, with the small image in the place of the runtime's."""
        alias = f"{image_repository(self.agent, 'keeper')}:{digest(self.keeper)}"
        built, image = self._address("image/runtime"), self._address("image/keeper")
        made = {"agent": self.agent, "reference": self.keeper, "tag": alias}
        found = [Resource(image, made, origin=None)]
        for one in resources(self.blueprint):
            needs = tuple(image if need == built else need for need in one.depends_on)
            spec = {**one.spec, "image": alias} if one.address == self._address("service/secrets") else one.spec
            if one.address != built:
                found.append(replace(one, depends_on=needs, spec=spec))
        return found

    def _address(self, short: str) -> Address:
        return self.stack.address(short)

    def reconciler(self) -> Reconciler:
        return Reconciler(
            scope=self.stack.scope,
            driver=self.stack.driver(),
            state_dir=self.state,
            secrets=lambda _name: SECRET,
            who="alice",
            emit=self.events.append,
        )

    def apply(self, *delete_data: str) -> Applied:
        return self.reconciler().apply(wanting(self.resources), Options(delete_data=frozenset(delete_data)))

    def plan(self) -> list[str]:
        """The golden lines, without their padding."""
        return [" ".join(line.split()) for line in str(self.reconciler().plan(wanting(self.resources))).splitlines()]

    def container(self, name: str, number: int = 1) -> str:
        """A container's name."""
        return f"{self.agent}-{name}-{number}"

    def inspect(self, name: str, number: int = 1) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.api.inspect_container(self.container(name, number))
        return found

    def containers(self, name: str) -> list[dict[str, Any]]:
        """Everything that stands of one service."""
        labels = [f"paictl.agent={self.agent}", f"paictl.name={name}", "paictl.kind=service"]
        return list(self.api.containers(all=True, filters={"label": labels}))

    def update(self, name: str, **host: object) -> None:
        """`docker update`; the SDK's own knows a part of it only."""
        url = f"{self.api.base_url}/v{self.api.api_version}/containers/{self.container(name)}/update"
        answer = self.api.post(url, data=json.dumps(host), headers={"Content-Type": "application/json"})
        answer.raise_for_status()


def keeper_image(api: docker.APIClient, labels: Mapping[str, str] | None = None) -> str:
    """Build the small image; its name."""
    tag = f"paictl-test/keeper:{secrets.token_hex(6)}"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(_DOCKERFILE)
        archive.addfile(entry, io.BytesIO(_DOCKERFILE.encode()))
        for name in ("__init__.py", "runtime/__init__.py", "runtime/keeper.py"):
            archive.add(_SOURCES / name, f"source/paictl/{name}")
    context.seek(0)
    told = list(
        api.build(
            fileobj=context,
            custom_context=True,
            tag=tag,
            rm=True,
            network_mode="none",
            buildargs={"BASE": stock.base(api)},
            labels=dict(labels or {}),
            decode=True,
        )
    )
    assert "error" not in told[-1], told[-1]
    return tag


@contextmanager
def made_small(
    api: docker.APIClient, state: Path, port: int, clean: Callable[[Small], None] | None = None
) -> Iterator[Small]:
    """One of its own, gone afterwards."""
    keeper = keeper_image(api)
    made = Small(api, keeper, state, port)
    try:
        yield made
    finally:
        if clean:
            clean(made)
        made.stack.clear()
        api.remove_image(keeper, force=True)
