"""One home a module, with the quickstart applied; taken down at the end whatever happened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.home import Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(Path(tmp_path_factory.mktemp("home")))
    (home.folder / "run").mkdir(mode=0o700)
    home.prepare()
    yield home
    home.switch_off()
