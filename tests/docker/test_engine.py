"""The engine that the tests run on: it is there, its containers reach nothing they should not, and it disturbs no other engine."""

from __future__ import annotations

import pytest

from tests.docker.conftest import Reached

pytestmark = pytest.mark.docker


def test_an_engine_answers(engine: Reached) -> None:
    assert engine.api.ping()
