"""The fixtures of every test that needs a Docker engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import docker
import pytest

from tests.docker import engine as engines
from tests.docker import stock
from tests.docker.daemon import Engine


@dataclass(frozen=True)
class Reached:
    """An engine that answers: its address, for ``DOCKER_HOST`` or a manifest, and a client of it."""

    host: str
    api: docker.APIClient


@pytest.fixture(scope="session")
def engine() -> Iterator[Reached]:
    """The engine of this session. With one of our own, the tests are in its network from here on: 127.0.0.1 has the ports."""
    if reason := engines.lacking():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    held = engines.lease()
    try:
        with held.engine.entered() if held.engine else nullcontext():
            client = docker.APIClient(base_url=held.host, version="auto", timeout=120)
            stock.base(client)
            yield Reached(held.host, client)
            client.close()
    finally:
        left = held.close()
    assert not left, f"left behind on the engine: {', '.join(left)}"


@pytest.fixture
def private_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine for this test alone, which it may restart and kill; empty, and started. ``entered()`` is where its ports are.

    Its parameter, if it has one, is how many megabytes its disk has.
    """
    if reason := engines.lacking_own():
        pytest.skip(reason)
    with engines.private(getattr(request, "param", 0)) as made:
        yield made
