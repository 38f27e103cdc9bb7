from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from paictl.blueprint.images import PUBLISHED
from paictl.blueprint.runtime import runtime_pin
from paictl.blueprint.types import Blueprint
from paictl.drivers.docker.connection import Connection, connect
from paictl.drivers.docker.publishing import Publisher
from paictl.drivers.docker.registries import described
from paictl.errors import PaictlError
from paictl.events import Event, ignore
from paictl.render.containers import image
from tests.docker.conftest import Reached
from tests.docker.registry import Registry, program, served
from tests.render.blueprints import QUICKSTART

pytestmark = pytest.mark.docker


@pytest.fixture
def connection(engine: Reached, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    made = connect()
    yield made
    made.close()


@pytest.fixture(params=[False, True], ids=["open", "closed"])
def registry(engine: Reached, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Registry]:
    if program() is None:
        reason = "no registry: apt-get install docker-registry"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with served(engine.api, tmp_path / "registry", closed=request.param) as running:
        yield running
        running.forget()


@pytest.fixture
def built(connection: Connection) -> Iterator[Blueprint]:
    """A blueprint whose image stands on the engine already, with one small file in the runtime's place."""
    blueprint = replace(QUICKSTART, agent=f"pub-{uuid.uuid4().hex[:8]}", runtime=runtime_pin())
    labels = {"org.opencontainers.image.base.name": PUBLISHED["base"]}
    recipe = io.BytesIO(b"FROM scratch\nCOPY Dockerfile /\n")
    for line in connection.api.build(fileobj=recipe, tag=image(blueprint), labels=labels, rm=True, decode=True):
        assert "error" not in line, line
    yield blueprint
    connection.api.remove_image(image(blueprint))


@pytest.mark.parametrize("registry", [False], indirect=True)
def test_the_runtimes_image_comes_to_a_registry_that_lacks_it(
    connection: Connection, registry: Registry, built: Blueprint
) -> None:
    publisher, reference = Publisher(connection), f"{registry.host}/me/{image(built)}"
    told: list[Event] = []
    assert not publisher.has(reference)
    publisher.publish(built, reference, told.append, "service/gateway", offline=False)
    assert publisher.has(reference)
    assert any(event.data["what"] == f"push {reference}" for event in told)
    # What the engine had it has still, and nothing else of it.
    assert described(connection.api, image(built)) is not None
    assert described(connection.api, reference) is None


@pytest.mark.parametrize("registry", [True], indirect=True)
def test_a_registry_that_takes_nothing_is_told_with_what_opens_it(
    connection: Connection, registry: Registry, built: Blueprint
) -> None:
    publisher, reference = Publisher(connection), f"{registry.host}/me/{image(built)}"
    assert not publisher.has(reference)
    with pytest.raises(PaictlError) as failed:
        publisher.publish(built, reference, ignore, "service/gateway", offline=False)
    assert f"the registry does not take the image {reference}" in failed.value.summary
    assert "docker login" in failed.value.help
    assert described(connection.api, reference) is None
