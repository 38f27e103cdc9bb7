"""The fixtures of every test that needs real hosts."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.hosts import host as one
from tests.hosts import needs
from tests.hosts.host import Host
from tests.hosts.lan import Lan, leased

Begin = Callable[..., Host]
"""As ``host.begin``, without a network and a name."""


@pytest.fixture(scope="session")
def lan() -> Iterator[Lan]:
    """A network for the hosts of this session, without any yet."""
    if reason := needs.lacking():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with leased() as made:
        yield made


@pytest.fixture
def hosts(lan: Lan) -> Iterator[Begin]:
    """Begins fresh hosts for one test, and takes them away afterwards."""
    begun: list[Host] = []

    def _begin(**asked: Any) -> Host:
        begun.append(one.begin(lan, f"h{secrets.token_hex(3)}", **asked))
        return begun[-1]

    yield _begin
    for each in begun:
        each.end()


@pytest.fixture
def host(hosts: Begin) -> Host:
    """A fresh host, which gets nowhere but to this machine."""
    return hosts()
