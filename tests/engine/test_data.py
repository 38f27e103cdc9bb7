from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from paictl.drivers.fake import Thing
from paictl.engine.intent import Options
from paictl.engine.model import Observed
from paictl.engine.reconciler import Compile
from paictl.errors import PartlyApplied, ProtectedData, Refused
from tests.engine.graphs import Bench, at, graph, lines, small_graph, wanting


@pytest.mark.promise(9)
def test_a_one_shot_runs_once_for_each_spec_and_is_remembered(bench: Bench) -> None:
    for _ in range(2):
        bench.reconciler().apply(wanting(small_graph()))
    bench.world.remove(("job/migrate", ""))  # the target cleans finished jobs away
    bench.reconciler().apply(wanting(small_graph()))
    assert bench.world.effects.count("run job/migrate") == 1
    bench.reconciler().apply(wanting(small_graph(migrate={"to": 2})))
    assert bench.world.effects.count("run job/migrate") == 2


@pytest.mark.promise(9)
def test_a_one_shot_that_failed_runs_again(bench: Bench) -> None:
    bench.faults.fail["run:job/migrate"] = 2
    for _ in range(2):
        with pytest.raises(PartlyApplied):
            bench.reconciler().apply(wanting(small_graph()))
    bench.reconciler().apply(wanting(small_graph()))
    assert bench.world.effects.count("run job/migrate") == 1


@pytest.mark.promise(9, 15)
def test_a_one_shot_is_remembered_through_failures_though_the_target_cleans_it_away(bench: Bench) -> None:
    bench.faults.fail["create:service/agent"] = 3
    for _ in range(3):
        with pytest.raises(PartlyApplied):
            bench.reconciler().apply(wanting(small_graph()))
        bench.world.remove(("job/migrate", ""))
    bench.reconciler().apply(wanting(small_graph()))
    assert bench.world.effects.count("run job/migrate") == 1


@pytest.mark.promise(12)
def test_data_survives_a_vanished_block_a_destroy_and_a_lost_label(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    without = wanting(one for one in small_graph() if str(one.address) == "service/model")
    bench.reconciler().apply(without, Options(allow_destroy=True))
    assert "volume/memory" in bench.standing()
    volume = bench.world.get(("volume/memory", ""))
    assert volume is not None
    bench.world.put(Thing(volume.address, volume.spec, fingerprint=volume.fingerprint, holds_data=False))
    bench.reconciler().destroy()
    bench.reconciler().destroy()
    assert set(bench.standing()) == {"volume/memory"}
    assert bench.reconciler().plan_destroy().kept == (at("volume/memory"),)
    bench.reconciler().apply(wanting(small_graph()))
    assert bench.world.effects.count("create volume/memory") == 1


@pytest.mark.promise(12)
def test_data_survives_a_manifest_that_denies_it(bench: Bench) -> None:
    def volume(path: str, size: int, *, data: bool) -> Compile:
        words = {"data": data, "replace_on": ["path"], "spec": {"path": path, "size": size}}
        return wanting(graph({"volume/memory": words, "service/agent": {}}))

    bench.reconciler().apply(volume("a", 1, data=True))
    bench.reconciler().apply(volume("a", 2, data=False))
    with pytest.raises(ProtectedData, match="would destroy the data in volume/memory"):
        bench.reconciler().apply(volume("b", 2, data=False))
    assert bench.standing()["volume/memory"][0] == {"path": "a", "size": 2}


@pytest.mark.promise(12)
def test_data_goes_when_its_address_is_named(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    plan = bench.reconciler().destroy(Options(delete_data=frozenset({"volume/memory"}))).plan
    assert lines(plan)[-2:] == [
        "- volume/memory because everything is being destroyed; destroys data",
        "- service/model because everything is being destroyed",
    ]
    assert bench.standing() == {}


@pytest.mark.promise(13)
def test_what_is_not_ours_is_never_touched(bench: Bench) -> None:
    theirs = Thing("service/agent", {"theirs": True}, owner="foreign")
    beside = Thing("service/other", {}, owner="unlabelled")
    for thing in (theirs, beside):
        bench.world.put(thing)
    with pytest.raises(Refused, match="service/agent already exists and is not paictl's"):
        bench.reconciler().apply(wanting(small_graph()))
    assert bench.world.effects == []
    bench.reconciler().apply(wanting(one for one in small_graph() if one.address.name != "agent"))
    bench.reconciler().destroy(Options(delete_data=frozenset({"volume/memory"})))
    assert list(bench.world.things.values()) == [theirs, beside]


@pytest.mark.promise(13)
def test_adopting_shows_first_and_changes_nothing_else(bench: Bench) -> None:
    for name in ("agent", "model", "else"):
        bench.world.put(Thing(f"service/{name}", {"port": 1}, owner="unlabelled"))
    wanted = wanting(small_graph())
    shown: list[str] = []

    def consent(found: Sequence[Observed]) -> bool:
        shown.extend(str(one.address) for one in found)
        return len(shown) > 1

    with pytest.raises(Refused, match="not confirmed"):
        bench.reconciler().adopt(wanted, ["service/agent"], consent=consent)
    assert bench.world.effects == []
    with pytest.raises(Refused, match="nothing to adopt at service/else"):
        bench.reconciler().adopt(wanted, ["service/else"])
    bench.reconciler().adopt(wanted, ["service/agent"], consent=consent)
    assert shown == ["service/agent"] * 2
    assert bench.world.effects == ["adopt service/agent"]
    adopted = bench.world.get(("service/agent", ""))
    assert adopted == Thing("service/agent", {"port": 1}, owner="mine")
    assert [str(one.address) for one in bench.reconciler().adoptable(wanted)] == ["service/model"]


def test_a_thing_changed_by_hand_is_drift_and_the_next_apply_mends_it(bench: Bench) -> None:
    bench.reconciler().apply(wanting(small_graph()))
    agent = bench.world.get(("service/agent", ""))
    assert agent is not None
    bench.world.put(replace(agent, spec={"port": 99}))
    bench.world.remove(("service/model", next(key[1] for key in bench.world.things if key[0] == "service/model")))
    assert lines(bench.reconciler().drift()) == [
        "+ service/model because it was there and is gone",
        "~ service/agent because port was changed by hand; downtime",
    ]
    assert not bench.reconciler().status().ready
    bench.reconciler().apply(wanting(small_graph()))
    assert bench.reconciler().drift().empty
