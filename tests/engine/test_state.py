from __future__ import annotations

import json
import shutil
import stat

import pytest

from paictl.engine.formats import Damaged, upgrade
from paictl.engine.intent import Options
from paictl.engine.releases import KEPT
from paictl.errors import PaictlError, Refused
from tests.engine.graphs import Bench, small_graph, wanting


def test_the_state_directory_is_its_owners_alone(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    assert stat.S_IMODE(bench.state.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in bench.state.rglob("*"))


@pytest.mark.promise(9, 12, 15)
def test_a_lost_state_directory_is_rebuilt_from_the_target(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    bench.world.remove(("job/migrate", ""))
    effects = bench.world.effects
    shutil.rmtree(bench.folder / "state")
    assert bench.reconciler().plan(wanting(small_graph())).empty
    assert bench.reconciler().apply(wanting(small_graph())).release == 2, (
        "release 1 is told by the target, its file is gone"
    )
    assert bench.world.effects == effects
    bench.reconciler().apply(wanting(()), Options(allow_destroy=True))
    assert set(bench.standing()) == {"volume/memory"}


@pytest.mark.promise(12, 15)
def test_of_two_that_share_a_target_each_goes_on_from_what_the_other_did_last(bench: Bench) -> None:
    """A person, and a timer of root's, each with a state directory of their own."""
    person = bench.reconciler(shared=True)
    timer = bench.reconciler(shared=True, state_dir=bench.folder / "root")
    whole, part = small_graph(), small_graph()[:-1]
    assert person.apply(wanting(whole)).release == 1
    assert timer.apply(wanting(part)).release == 2
    assert person.apply(wanting(whole)).release == 3, "1 is what stood once, and 2 is somebody else's"
    assert timer.apply(wanting(whole)).plan.empty
    assert person.plan(wanting(whole)).empty


@pytest.mark.promise(15)
@pytest.mark.parametrize("keep", [0, 1, 40, 200])
def test_a_truncated_state_is_rebuilt_with_a_warning(bench: Bench, keep: int) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    effects = bench.world.effects
    state = bench.state / "state.json"
    state.write_bytes(state.read_bytes()[:keep])
    assert bench.reconciler().apply(wanting(small_graph())).plan.empty
    assert any("is damaged" in text and "rebuilding it from the target" in text for text in bench.warnings())
    assert bench.world.effects == effects
    bench.events.clear()
    bench.reconciler().apply(wanting(small_graph()))
    assert bench.warnings() == []


@pytest.mark.promise(15)
def test_without_anything_remembered_the_target_alone_is_enough(bench: Bench) -> None:
    """No state, and an inventory on the target that is damaged: what stands is still recognised by its labels."""
    bench.reconciler().apply(wanting(small_graph()))
    effects = bench.world.effects
    shutil.rmtree(bench.folder / "state")
    bench.world.keep({"format": 1, "resources": "?"})
    assert bench.reconciler().apply(wanting(small_graph())).plan.empty
    assert any("the inventory on the target is damaged" in text for text in bench.warnings())
    assert bench.world.effects == effects


@pytest.mark.promise(15)
def test_a_newer_state_is_refused_with_the_reason(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    state = bench.state / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "format": 2}))
    for verb in (lambda: bench.reconciler().plan(wanting(small_graph())), bench.reconciler().destroy):
        with pytest.raises(
            Refused, match=r"state.json has format 2, and this paictl knows up to 1: a newer paictl wrote it"
        ):
            verb()


def test_older_formats_are_lifted_one_by_one() -> None:
    chain = {
        1: lambda content: {**content, "second": True},
        2: lambda content: {**content, "third": content["second"]},
    }
    lifted = upgrade({"format": 1, "first": True}, "a state", chain, current=3)
    assert lifted == {"format": 3, "first": True, "second": True, "third": True}
    with pytest.raises(Damaged, match="which never existed"):
        upgrade({"format": 0}, "a state", chain, current=3)


def test_another_driver_than_the_one_that_made_it_is_refused(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    bench.driver.name = "other"
    with pytest.raises(Refused, match="target laptop was made by driver fake, and the manifest now says other"):
        bench.reconciler().plan(wanting(small_graph()))


def test_ten_releases_are_kept(bench: Bench) -> None:
    for port in range(KEPT + 3):
        bench.reconciler().apply(wanting(small_graph(agent={"port": port + 1})))
    numbers = [release.number for release in bench.reconciler().history()]
    assert numbers == list(range(4, KEPT + 4))
    with pytest.raises(Refused, match="there is no release 1 to go back to; kept are: 4, 5"):
        bench.reconciler().rollback(1)


def test_a_state_directory_that_can_not_be_made_is_an_error_that_says_so(bench: Bench) -> None:
    (bench.folder / "state").write_text("a file is in the way")
    with pytest.raises(PaictlError, match="can't make the state directory"):
        bench.reconciler().apply(wanting(small_graph()))
    assert bench.world.effects == []
