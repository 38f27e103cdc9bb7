"""One agent on three hosts, of which one is away: the others are whole, it is named, and nothing of it is planned away."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from paictl.drivers.ansible import ledger
from paictl.engine.model import Resource
from paictl.engine.reconciler import Reconciler
from paictl.errors import PaictlError
from paictl.events import ignore
from tests.drivers.ansible.stack import Shared, Stack, hosts_of, made_stack, with_build
from tests.engine.graphs import wanting
from tests.hosts import host as one
from tests.hosts.host import Host
from tests.hosts.lan import Lan

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def three(lan: Lan, shared: Shared, tmp_path: Path) -> Iterator[Stack]:
    others = [one.begin(lan, f"h{secrets.token_hex(3)}") for _ in range(2)]
    hosts: Sequence[Host] = (shared.host, *others)
    for host in others:
        with_build(host)
    reached = hosts_of(hosts, tmp_path / "state")
    try:
        with made_stack(hosts, reached) as stack:
            yield stack
    finally:
        reached.close()
        for host in others:
            host.end()


def _wanted(stack: Stack, content: str) -> list[Resource]:
    """On each host a runtime and a secret."""
    found = []
    for host in stack.hosts:
        build = next(iter(stack.resources(host, f"-{host.name}")))
        told = {"secret": "extra", "generated": False, "content": content}
        found += [build, stack.made(f"secret/extra-{host.name}", host.name, told, str(build.address))]
    return found


@pytest.mark.promise(4)
def test_of_three_hosts_one_is_down(three: Stack, tmp_path: Path) -> None:
    def reconciler() -> Reconciler:
        given: dict[str, Any] = {"secrets": three.secrets, "who": "alice", "emit": ignore}
        return Reconciler(scope=three.scope, driver=three.driver(), state_dir=tmp_path / "desk", **given)

    away = three.hosts[1]
    reconciler().apply(wanting(_wanted(three, "k1:00")))
    away.cut()
    try:
        plan = reconciler().plan(wanting(_wanted(three, "k2:00")))
        here = {f"secret/extra-{host.name}" for host in three.hosts if host is not away}
        assert {(step.action, str(step.address)) for step in plan.steps} == {("update", name) for name in here}
        assert list(plan.away) == [away.name]
        with pytest.raises(PaictlError, match=away.name):
            reconciler().apply(wanting(_wanted(three, "k2:00")))
        assert ledger.load(three.reached, three.scope) is not None
    finally:
        away.mend()
    plan = reconciler().plan(wanting(_wanted(three, "k2:00")))
    assert [str(step) for step in plan.steps if step.place != away.name] == []
    assert {(step.action, str(step.address)) for step in plan.steps} == {("update", f"secret/extra-{away.name}")}
    reconciler().apply(wanting(_wanted(three, "k2:00")))
    assert reconciler().plan(wanting(_wanted(three, "k2:00"))).empty
