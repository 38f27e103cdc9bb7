"""The server's example: Postgres with pgvector and a model server of others, from images built here, on a real engine."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import ClassVar

import pytest

from tests.docker import stock
from tests.docker.conftest import Reached
from tests.docker.home import DockerHome
from tests.story.life import End, Life

# The first apply builds an image.
pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("story-server"),
]


@pytest.fixture(scope="module")
def home(engine: Reached, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerHome]:
    home = DockerHome(tmp_path_factory.mktemp("home"), agent=f"server-{uuid.uuid4().hex[:8]}", reached=engine)
    home.copy("server")
    home.edit("{name: harbour,", f"{{name: {home.agent},")
    home.edit("{port: 8720}", f"{{port: {home.port}}}")
    home.environment |= {
        "PAICTL_IMAGE_BASE": stock.base(engine.api),
        "PAICTL_IMAGE_LLAMA_CPP": stock.llama_cpp(engine.api),
        "PAICTL_IMAGE_PGVECTOR": stock.pgvector(engine.api),
    }
    yield home
    home.clear()


class TestTheServerOnDocker(Life):
    rooms: ClassVar[set[str]] = {"agent", "model-chat", "model-embed", "store"}
    instructions: ClassVar[str] = "prompts/harbour.md"


class TestItsEndOnDocker(End):
    pass
