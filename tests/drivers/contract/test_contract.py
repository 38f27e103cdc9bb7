from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from paictl.engine.driver import Holder
from paictl.engine.intent import Options
from paictl.engine.reconciler import Reconciler
from paictl.errors import LockHeld, Refused
from paictl.events import Event, ignore
from tests.drivers.contract.subjects import SUBJECTS, Subject
from tests.engine.graphs import wanting

_ME = Holder("alice", "desk", 1, "2026-01-02T03:04:05+00:00", "apply")


@pytest.fixture(params=[pytest.param(name, marks=marks, id=name) for name, (_, marks) in SUBJECTS.items()])
def subject(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Subject]:
    factory, _ = SUBJECTS[request.param]
    if request.param == "docker":
        monkeypatch.setenv("DOCKER_HOST", request.getfixturevalue("engine").host)
    if request.param == "kubernetes":
        monkeypatch.setenv("KUBECONFIG", str(request.getfixturevalue("node_cluster").access.kubeconfig))
    if request.param == "ansible":
        request.getfixturevalue("shared")
    (tmp_path / "target").mkdir()
    with factory(tmp_path / "target") as made:
        yield made


@dataclass
class _Desk:
    """A person's machine with its state, and the target."""

    subject: Subject
    state: Path
    events: list[Event] = field(default_factory=list)

    def reconciler(self, **changes: Any) -> Reconciler:
        settings: dict[str, Any] = {
            "scope": self.subject.scope,
            "driver": self.subject.reopen(),
            "state_dir": self.state,
            "secrets": self.subject.secrets,
            "who": "alice",
            "emit": self.events.append,
        }
        return Reconciler(**{**settings, **changes})

    def tokens(self) -> dict[str, str]:
        observation = self.subject.reopen().observe(self.subject.scope)
        return {str(one.address): one.token for one in observation.resources if one.owner == "mine"}


@pytest.fixture
def desk(subject: Subject, tmp_path: Path) -> _Desk:
    return _Desk(subject, tmp_path / "state")


def test_of_nothing_nothing_is_observed(subject: Subject) -> None:
    assert subject.driver.observe(subject.scope).resources == ()
    assert subject.driver.load_inventory(subject.scope) is None
    assert list(subject.leftovers()) == []


@pytest.mark.promise(2)
def test_a_second_apply_changes_nothing(desk: _Desk) -> None:
    desk.reconciler().apply(wanting(desk.subject.first))
    before = desk.tokens()
    assert set(before) == {str(one.address) for one in desk.subject.first}
    again = desk.reconciler().apply(wanting(desk.subject.first))
    assert str(again.plan) == ""
    assert desk.tokens() == before
    assert desk.reconciler().status().ready
    assert desk.reconciler().drift().empty


def test_an_update_touches_only_what_changed(desk: _Desk) -> None:
    desk.reconciler().apply(wanting(desk.subject.first))
    before = desk.tokens()
    changed = {str(one.address) for one in desk.reconciler().plan(wanting(desk.subject.second)).steps}
    assert str(desk.subject.service) in changed
    desk.reconciler().apply(wanting(desk.subject.second))
    after = desk.tokens()
    assert {address for address in before if before[address] != after[address]} == changed
    assert desk.reconciler().plan(wanting(desk.subject.second)).empty


def test_what_is_no_longer_wanted_goes(desk: _Desk) -> None:
    desk.reconciler().apply(wanting(desk.subject.first))
    desk.reconciler().apply(wanting(desk.subject.third))
    assert not desk.subject.stands(desk.subject.extra)
    assert desk.reconciler().plan(wanting(desk.subject.third)).empty


@pytest.mark.promise(7, 12)
def test_a_destroy_keeps_the_data_and_the_next_apply_finds_it_again(desk: _Desk) -> None:
    desk.reconciler().apply(wanting(desk.subject.first))
    token = desk.tokens()[str(desk.subject.data)]
    desk.reconciler().destroy()
    assert {address for address in desk.tokens() if desk.subject.stands(_at(desk, address))} == _data(desk)
    desk.reconciler().apply(wanting(desk.subject.first))
    assert desk.tokens()[str(desk.subject.data)] == token


@pytest.mark.promise(7, 12)
def test_a_destroy_with_its_data_leaves_nothing(desk: _Desk) -> None:
    desk.reconciler().apply(wanting(desk.subject.first))
    desk.reconciler().destroy(Options(delete_data=frozenset(_data(desk))))
    assert desk.tokens() == {}
    assert list(desk.subject.leftovers()) == []


def _data(desk: _Desk) -> set[str]:
    return {str(one.address) for one in desk.subject.first if one.holds_data}


def _at(desk: _Desk, address: str) -> Any:
    return next(one.address for one in desk.subject.first if str(one.address) == address)


@pytest.mark.promise(13)
def test_what_is_not_ours_is_refused_untouched_and_can_be_adopted(desk: _Desk) -> None:
    theirs = next(one for one in desk.subject.first if one.address == desk.subject.extra)
    desk.subject.place(theirs)
    with pytest.raises(Refused, match=f"{theirs.address} already exists and is not paictl's"):
        desk.reconciler().apply(wanting(desk.subject.first))
    desk.reconciler().apply(wanting(desk.subject.third))
    desk.reconciler().destroy(Options(delete_data=frozenset(_data(desk))))
    assert desk.subject.stands(theirs.address)
    desk.reconciler().adopt(wanting(desk.subject.first), [str(theirs.address)])
    assert desk.tokens().keys() == {str(theirs.address)}
    desk.reconciler().apply(wanting(desk.subject.first))
    assert desk.reconciler().plan(wanting(desk.subject.first)).empty


@pytest.mark.promise(14)
def test_every_step_is_safe_to_repeat(desk: _Desk) -> None:
    first, second = wanting(desk.subject.first), wanting(desk.subject.second)
    for desired in (first, second):
        driver = desk.subject.reopen()
        for step in desk.reconciler().plan(desired).steps:
            for _ in range(2):
                driver.act(step, secrets=desk.subject.secrets, emit=ignore)
    desk.reconciler().apply(second)
    assert desk.reconciler().plan(second).empty
    driver = desk.subject.reopen()
    for step in desk.reconciler().plan_destroy(Options(delete_data=frozenset(_data(desk)))).steps:
        for _ in range(2):
            driver.act(step, secrets=desk.subject.secrets, emit=ignore)
    assert desk.tokens() == {}


@pytest.mark.promise(2)
def test_what_died_is_seen_and_runs_again_after_an_apply(desk: _Desk) -> None:
    desk.reconciler().apply(wanting(desk.subject.first))
    desk.subject.stop(desk.subject.service)
    assert not desk.reconciler().status().ready
    applied = desk.reconciler().apply(wanting(desk.subject.first))
    assert str(desk.subject.service) in {str(step.address) for step in applied.plan.steps}
    assert desk.reconciler().status().ready


@pytest.mark.promise(15)
def test_a_lost_state_is_rebuilt_from_the_target(desk: _Desk) -> None:
    desk.reconciler().apply(wanting(desk.subject.first))
    before = desk.tokens()
    shutil.rmtree(desk.state)
    assert desk.reconciler().apply(wanting(desk.subject.first)).plan.empty
    assert desk.tokens() == before
    desk.reconciler().apply(wanting(()), Options(allow_destroy=True))
    assert set(desk.tokens()) == _data(desk)


@pytest.mark.promise(15)
def test_the_inventory_comes_back_as_it_was_saved(subject: Subject) -> None:
    for number in (1, 2):
        inventory = {"format": 1, "number": number, "resources": {"service/ä": {"fingerprint": "v1:00"}}}
        subject.driver.save_inventory(subject.scope, inventory)
        assert subject.reopen().load_inventory(subject.scope) == inventory


@pytest.mark.promise(16)
def test_the_lock_has_one_holder_who_is_named(subject: Subject) -> None:
    with (
        subject.driver.hold_lock(subject.scope, _ME),
        pytest.raises(LockHeld, match="alice on desk, process 1, since 2026-01-02T03:04:05"),
        subject.reopen().hold_lock(subject.scope, _ME),
    ):
        pass
    with subject.reopen().hold_lock(subject.scope, _ME):
        pass


def test_logs_are_the_last_lines_of_one_service(desk: _Desk) -> None:
    desk.reconciler().apply(wanting(desk.subject.first))
    driver, name = desk.subject.reopen(), desk.subject.service.name
    lines = list(itertools.islice(driver.logs(desk.subject.scope, name, tail=50, follow=False), 50))
    assert all(isinstance(line, str) and "\n" not in line for line in lines)
    assert len(list(driver.logs(desk.subject.scope, name, tail=1, follow=False))) <= 1
    assert list(driver.logs(desk.subject.scope, name, tail=0, follow=False)) == []
