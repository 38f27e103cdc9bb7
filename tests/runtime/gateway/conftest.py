from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.gateway.gatewayprocess import GatewayProcess, discard, local_model, new_gateway
from tests.runtime.gateway.upstream import Upstream, running

StartGateway = Callable[..., GatewayProcess]


@pytest.fixture
def model() -> Iterator[Upstream]:
    """A model server on TCP."""
    with running() as upstream:
        yield upstream


@pytest.fixture
def start_gateway() -> Iterator[StartGateway]:
    """Starts gateways with a configuration; removes them and their roots at the end."""
    gateways: list[GatewayProcess] = []

    def start(secrets: dict[str, str] | None = None, *, run: bool = True, **config: Any) -> GatewayProcess:
        gateway = new_gateway(**config)
        gateways.append(gateway)
        for name, value in (secrets or {}).items():
            Path(gateway.root, "secrets", name).write_text(value)
        if run:
            gateway.start()
        return gateway

    yield start
    for gateway in gateways:
        discard(gateway)


@pytest.fixture
def gateway(start_gateway: StartGateway, model: Upstream) -> GatewayProcess:
    """A gateway with one local chat model and one local embedding model."""
    models = {"chat": local_model(model.endpoint), "embed": local_model(model.endpoint, "embed")}
    memory = new_memory(embed="embed")
    return start_gateway(models=models, memory=memory)


def new_memory(**more: Any) -> dict[str, Any]:
    from tests.runtime.gateway.gatewayprocess import SPACES

    return {"spaces": SPACES} | more
