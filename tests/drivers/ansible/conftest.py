"""The fixtures of the Ansible driver's tests: one host that all of a session's tests share, each with an agent of its own on it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from paictl.engine.points import OnPoint, pass_by
from paictl.engine.reconciler import Reconciler
from paictl.events import Emit, ignore
from tests.drivers.ansible.stack import Shared, Stack, hosts_of, made_stack, with_build
from tests.hosts import host as one
from tests.hosts.conftest import lan
from tests.hosts.lan import Lan

__all__ = ["Reconciling", "lan", "shared"]


class Reconciling(Protocol):
    """Makes a reconciler."""

    def __call__(self, on_point: OnPoint = ..., emit: Emit = ...) -> Reconciler: ...


@pytest.fixture(scope="session")
def shared(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """A host, and how paictl reaches it."""
    host = one.begin(lan, f"h{secrets.token_hex(3)}")
    with_build(host)
    reached = hosts_of([host], tmp_path_factory.mktemp("hosts") / "state")
    with Shared(host, reached) as made:
        yield made
    reached.close()
    host.end()


@pytest.fixture
def stack(shared: Shared) -> Iterator[Stack]:
    with made_stack([shared.host], shared.reached) as made:
        yield made


@pytest.fixture
def reconciler(stack: Stack, tmp_path: Path) -> Reconciling:
    """One for each call, as each run of the command line has. ``on_point`` is told of each point that it passes."""

    def made(on_point: OnPoint = pass_by, emit: Emit = ignore) -> Reconciler:
        return Reconciler(
            scope=stack.scope,
            driver=stack.driver(),
            state_dir=tmp_path / "state",
            secrets=stack.secrets,
            who="alice",
            emit=emit,
            on_point=on_point,
        )

    return made
