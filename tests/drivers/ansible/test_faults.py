"""What happens to hosts: changes by hand, cut cables, lost power, full disks, another key. The next apply mends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from paictl.drivers.ansible.driver import AnsibleDriver
from paictl.engine.model import Resource
from paictl.engine.points import OnPoint, pass_by
from paictl.engine.reconciler import Reconciler
from paictl.errors import LockHeld, PaictlError
from paictl.events import Emit, Event, ignore
from tests.drivers.ansible.stack import Shared, Stack, made_stack
from tests.engine.graphs import wanting

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]

_RUN = "Run it"


@dataclass
class _Desk:
    """A person's machine with its state; what it wants stands when a test begins, and when it ends."""

    stack: Stack
    state: Path

    @property
    def wanted(self) -> list[Resource]:
        """One service, and what it needs."""
        return [one for one in self.stack.resources() if one.address.name != "agent"]

    def reconciler(
        self, driver: AnsibleDriver | None = None, *, emit: Emit = ignore, on_point: OnPoint = pass_by, state: str = ""
    ) -> Reconciler:
        return Reconciler(
            scope=self.stack.scope,
            driver=driver or self.stack.driver(),
            state_dir=self.state / state,
            secrets=self.stack.secrets,
            who="alice",
            emit=emit,
            on_point=on_point,
        )

    def apply(self) -> dict[str, str]:
        """Address -> cause of each step that it took; nothing is left to do then."""
        plan = self.reconciler().apply(wanting(self.wanted)).plan
        assert self.reconciler().plan(wanting(self.wanted)).empty
        return {str(step.address): step.cause for step in plan.steps}

    def fails(self, emit: Emit = ignore) -> str:
        with pytest.raises(PaictlError) as failed:
            self.reconciler(emit=emit).apply(wanting(self.wanted))
        return f"{failed.value.summary}\n{failed.value.help}"

    def says(self) -> str:
        """What the service that runs says first."""
        unit = self.stack.unit("gateway")
        invocation = self.stack.host.exec(["systemctl", "show", "--property=InvocationID", "--value", unit]).strip()
        words = ["journalctl", f"_SYSTEMD_INVOCATION_ID={invocation}", f"_SYSTEMD_UNIT={unit}", "--output=cat"]
        return self.stack.host.exec(words).partition("\n")[0]


@pytest.fixture(scope="module")
def desk(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Desk]:
    with made_stack([shared.host], shared.reached) as stack:
        made = _Desk(stack, tmp_path_factory.mktemp("desk"))
        made.apply()
        yield made


def _once(task: str, do: Callable[[], None]) -> Emit:
    """Does it when this task begins, the first time."""
    left = [do]

    def emit(event: Event) -> None:
        if left and event.data.get("task") == task and event.data.get("status") == "begin":
            left.pop()()

    return emit


@pytest.mark.promise(2)
def test_what_a_hand_changed_is_named_and_mended(desk: _Desk) -> None:
    agent, unit = desk.stack.agent, desk.stack.unit("gateway")
    script = f"echo '# mine' >>/etc/systemd/system/{unit}; rm /etc/paictl/{agent}/secrets/extra; systemctl stop {unit}"
    desk.stack.host.exec(["sh", "-ec", script])
    plan = {str(step.address): step.changes for step in desk.reconciler().plan(wanting(desk.wanted)).steps}
    assert set(plan) == {"secret/extra", "service/gateway"}
    assert f"/etc/systemd/system/{unit}" in str(plan["service/gateway"])
    desk.apply()
    assert desk.says() == "hello"


@pytest.mark.promise(16)
def test_of_two_applies_at_once_the_second_is_told_who_is_at_work(desk: _Desk) -> None:
    desk.stack.say["gateway"] = "two"
    begun, told = threading.Event(), threading.Event()

    def slowly(point: str, _about: str) -> None:
        if point == "after-begin":
            begun.set()
            assert told.wait(120)

    with ThreadPoolExecutor(1) as other:
        first = other.submit(desk.reconciler(on_point=slowly).apply, wanting(desk.wanted))
        assert begun.wait(120)
        # From another machine: only the host knows.
        with pytest.raises(LockHeld, match=f"the lock of {desk.stack.host.name} is held by alice on "):
            desk.reconciler(state="other").apply(wanting(desk.wanted))
        told.set()
        assert first.result(120).outcome.complete
    assert desk.apply() == {}


@pytest.mark.promise(14)
def test_a_cable_that_is_cut_in_the_middle_of_an_apply_is_told_and_the_next_apply_ends_it(desk: _Desk) -> None:
    desk.stack.say["gateway"] = "after the cut"
    try:
        said = desk.fails(_once(_RUN, desk.stack.host.cut))
    finally:
        desk.stack.host.mend()
    assert desk.stack.host.name in said
    desk.apply()
    assert desk.says() == "after the cut"


@pytest.mark.promise(14)
def test_power_that_goes_in_the_middle_of_an_apply_costs_nothing_but_the_apply(desk: _Desk) -> None:
    desk.stack.say["gateway"] = "after the dark"
    host, agent = desk.stack.host, desk.stack.agent
    host.exec(["sh", "-ec", f"echo dear >/var/lib/paictl/{agent}/data/memory/diary; sync"])
    try:
        said = desk.fails(_once("Install the unit", host.lose_power))
    finally:
        host.power_on()
    assert host.name in said
    desk.apply()
    assert desk.says() == "after the dark"
    assert host.exec(["cat", f"/var/lib/paictl/{agent}/data/memory/diary"]) == "dear\n"


@pytest.mark.promise(10)
def test_a_full_disk_is_told_and_what_ran_runs_on(desk: _Desk) -> None:
    before, host = desk.says(), desk.stack.host
    desk.stack.programs["gateway"] = f"SAY = 'more'\n#{'x' * 3_000_000}\n"
    try:
        for left in (1_000_000, 0):
            host.fill(left)
            try:
                said = desk.fails()
            finally:
                host.clear()
            # Which write it is that finds no room is the disk's to say.
            told = (
                f"{host.name}: Configure the service: ",
                f"can be written on {host.name}",
                "No space left on device",
            )
            assert any(one in said for one in told), said
            assert desk.says() == before
    finally:
        del desk.stack.programs["gateway"]
    desk.apply()
    assert desk.says() == before


@pytest.mark.promise(13)
def test_a_host_with_another_key_than_the_pinned_one_is_nobody_we_know(desk: _Desk) -> None:
    reached, name = desk.stack.reached, desk.stack.host.name
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    wrong = AnsibleDriver(replace(reached, logins={name: replace(reached.logins[name], host_key=other)}))
    for attempt in (desk.reconciler(wrong).plan, desk.reconciler(wrong).apply):
        with pytest.raises(PaictlError, match="key"):
            attempt(wanting(desk.wanted))
    assert desk.apply() == {}
