"""A person's machine with its state, beside a small stack on a real engine: what tests of faults begin with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker
import pytest

from paictl.drivers.docker.driver import DockerDriver
from paictl.engine.intent import Options
from paictl.engine.model import Probe, Resource
from paictl.engine.outcome import Applied, ResourceStatus
from paictl.engine.reconciler import Reconciler
from paictl.errors import PaictlError
from paictl.events import Event
from tests.docker import stock
from tests.docker.conftest import Reached
from tests.drivers.docker.stack import Stack, made_stack
from tests.engine.graphs import wanting

__all__ = ["Desk", "made_desk"]


@dataclass
class Desk:
    """Everything is done through one driver, which the stack closes at the end."""

    stack: Stack
    state: Path
    driver: DockerDriver
    events: list[Event] = field(default_factory=list)

    @property
    def api(self) -> docker.APIClient:
        """For what somebody does there by hand."""
        return self.driver.connection.api

    def reconciler(self) -> Reconciler:
        return Reconciler(
            scope=self.stack.scope,
            driver=self.driver,
            state_dir=self.state,
            secrets=self.stack.secrets,
            who="alice",
            emit=self.events.append,
        )

    def apply(self, resources: Sequence[Resource], *delete_data: str) -> Applied:
        return self.reconciler().apply(wanting(resources), Options(delete_data=frozenset(delete_data)))

    def plan(self, resources: Sequence[Resource]) -> str:
        """The golden lines."""
        return str(self.reconciler().plan(wanting(resources)))

    def refused(self, resources: Sequence[Resource], kind: type[PaictlError] = PaictlError) -> tuple[PaictlError, str]:
        """What a failing apply is ended with, and everything that was told of the steps that failed."""
        self.events.clear()
        with pytest.raises(kind) as caught:
            self.apply(resources)
        failures = [event for event in self.events if event.type == "step-end" and not event.data["ok"]]
        return caught.value, "\n".join(str(event.data["reason"]) for event in failures)

    def status(self, short: str) -> ResourceStatus:
        return next(one for one in self.reconciler().status().resources if str(one.address) == short)

    def alone(self, *, timeout: float = 60.0, **changes: Any) -> list[Resource]:
        """One service with nothing but its image and its network; ``changes`` in the words of the Compose file."""
        service = replace(self.stack.service("inner", **changes), probe=Probe(timeout, 1.0))
        wanted = set(service.depends_on)
        return [*(one for one in self.stack.resources() if one.address in wanted), service]

    def container(self, service: str = "inner", number: int = 1) -> str:
        """A container's name."""
        return f"{self.stack.agent}-{service}-{number}"

    def inspect(self, service: str = "inner", number: int = 1) -> dict[str, Any]:
        found: dict[str, Any] = self.api.inspect_container(self.container(service, number))
        return found


@contextmanager
def made_desk(engine: Reached, folder: Path, image: str = "") -> Iterator[Desk]:
    """A desk of its own whose agent is gone afterwards; DOCKER_HOST names the engine."""
    with pytest.MonkeyPatch.context() as environment, made_stack(image or stock.base(engine.api)) as stack:
        environment.setenv("DOCKER_HOST", engine.host)
        yield Desk(stack, folder / "state", stack.driver())
