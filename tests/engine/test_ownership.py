"""An agent belongs to the manifest that it was applied from: another one of the same name takes nothing over unasked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from paictl.engine.intent import Options
from paictl.engine.ownership import Source
from paictl.errors import Refused
from tests.engine.graphs import SCOPE, Bench, small_graph, wanting

PLAN = wanting(small_graph())


def source(path: Path, repository: str = "", host: str = "desk") -> Source:
    path.parent.mkdir(exist_ok=True)
    path.write_text("kind: Agent")
    return Source(str(path), host, repository)


@pytest.fixture
def first(bench: Bench, tmp_path: Path) -> Source:
    """The manifest that the agent stands from."""
    made = source(tmp_path / "one" / "agent.yaml")
    bench.reconciler(source=made).apply(PLAN)
    return made


@pytest.mark.promise(13)
@pytest.mark.parametrize("verb", ["apply", "destroy", "rollback"])
def test_another_manifest_is_refused_and_both_are_named(bench: Bench, tmp_path: Path, first: Source, verb: str) -> None:
    second = source(tmp_path / "two" / "agent.yaml")
    other = bench.reconciler(source=second)
    effects = bench.world.effects
    acts: dict[str, Callable[[], object]] = {
        "apply": lambda: other.apply(PLAN),
        "destroy": other.destroy,
        "rollback": lambda: other.rollback(1),
    }
    with pytest.raises(Refused) as raised:
        acts[verb]()
    where = f"{SCOPE.agent} on {SCOPE.target}"
    assert raised.value.summary == f"{where} is applied from {first.path} on desk; this is {second.path} on desk"
    assert "metadata.name" in raised.value.help
    assert "--take-over" in raised.value.help
    assert bench.world.effects == effects


def test_a_plan_says_it_and_is_a_plan_all_the_same(bench: Bench, tmp_path: Path, first: Source) -> None:
    second = source(tmp_path / "two" / "agent.yaml")
    planned, refusals = bench.reconciler(source=second).foresee(PLAN)
    assert planned.empty
    assert [first.path in refusal.summary for refusal in refusals] == [True]
    assert bench.reconciler(source=second).foresee(PLAN, Options(take_over=True))[1] == ()
    assert bench.reconciler(source=first).foresee(PLAN)[1] == ()


def test_who_takes_over_is_the_owner_from_then_on(bench: Bench, tmp_path: Path, first: Source) -> None:
    second = source(tmp_path / "two" / "agent.yaml")
    bench.reconciler(source=second).apply(PLAN, Options(take_over=True))
    bench.reconciler(source=second).apply(PLAN)
    with pytest.raises(Refused, match=r"two/agent\.yaml"):
        bench.reconciler(source=first).apply(PLAN)


def test_a_folder_that_was_moved_goes_on_without_being_asked(bench: Bench, tmp_path: Path, first: Source) -> None:
    Path(first.path).parent.rename(tmp_path / "moved")
    moved = Source(str(tmp_path / "moved" / "agent.yaml"), "desk")
    bench.reconciler(source=moved).apply(PLAN)
    with pytest.raises(Refused, match=r"moved/agent\.yaml"):
        bench.reconciler(source=source(tmp_path / "one" / "agent.yaml")).apply(PLAN)


def test_what_is_gone_here_may_be_there_on_the_machine_it_was_applied_from(bench: Bench, first: Source) -> None:
    Path(first.path).unlink()
    with pytest.raises(Refused, match="on laptop"):
        bench.reconciler(source=Source("/elsewhere/agent.yaml", "laptop")).apply(PLAN)


def test_another_clone_of_the_same_repository_is_the_same_manifest(bench: Bench, tmp_path: Path) -> None:
    place = "github.com/alice/agents#home/agent.yaml"
    bench.reconciler(source=source(tmp_path / "one" / "agent.yaml", place)).apply(PLAN)
    bench.reconciler(source=source(tmp_path / "two" / "agent.yaml", place, "laptop")).apply(PLAN)
    with pytest.raises(Refused, match="on laptop"):
        bench.reconciler(source=source(tmp_path / "fork" / "agent.yaml", place.replace("alice", "bob"))).apply(PLAN)


def test_a_manifest_of_no_file_claims_nothing(bench: Bench, tmp_path: Path, first: Source) -> None:
    bench.reconciler(source=None).apply(PLAN)
    with pytest.raises(Refused, match=first.path):
        bench.reconciler(source=source(tmp_path / "two" / "agent.yaml")).apply(PLAN)


def test_the_claim_outlives_the_state_directory_and_stays_on_data_that_is_kept(
    bench: Bench, tmp_path: Path, first: Source
) -> None:
    second = bench.reconciler(source=source(tmp_path / "two" / "agent.yaml"))
    shutil.rmtree(bench.folder / "state")
    with pytest.raises(Refused, match=first.path):
        second.apply(PLAN)
    bench.reconciler(source=first).destroy()
    with pytest.raises(Refused, match=first.path):
        second.apply(PLAN)
    bench.reconciler(source=first).destroy(Options(delete_data=frozenset({"volume/memory"})))
    second.apply(PLAN)
