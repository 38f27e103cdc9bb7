from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from paictl.drivers.fake import Thing
from paictl.engine.intent import Options
from paictl.errors import PartlyApplied
from tests.engine.graphs import Bench, graph, wanting

_ACTIONS = ("create", "update", "replace", "delete", "run")
_NAMES = tuple(f"{kind}/{letter}" for kind in ("service", "volume", "job") for letter in "abc")


@dataclass(frozen=True)
class _Node:
    """One desired resource; ``needs`` are those before it in the list, by their distance, so that there is no circle."""

    address: str
    value: int
    image: int
    needs: frozenset[int]
    beside: bool


@dataclass(frozen=True)
class _Meddling:
    """What somebody else does to the world between two applies: to which thing, and what."""

    thing: int
    what: str


@dataclass(frozen=True)
class _Trouble:
    """A step that fails in the first apply, before or after its effect, or never becomes healthy."""

    step: str
    how: str


_NODES = st.lists(
    st.builds(
        _Node,
        address=st.sampled_from(_NAMES),
        value=st.integers(0, 2),
        image=st.integers(0, 1),
        needs=st.frozensets(st.integers(1, 4), max_size=2),
        beside=st.booleans(),
    ),
    max_size=7,
    unique_by=lambda node: node.address,
)
_MEDDLINGS = st.lists(
    st.builds(
        _Meddling, st.integers(0, 8), st.sampled_from(["remove", "edit", "stop", "relabel", "double", "foreign"])
    ),
    max_size=4,
)
_TROUBLES = st.lists(
    st.builds(
        _Trouble,
        st.builds("{}:{}".format, st.sampled_from(_ACTIONS), st.sampled_from(_NAMES)),
        st.sampled_from(["before", "after", "unhealthy"]),
    ),
    max_size=4,
)


def _desired(nodes: list[_Node]) -> dict[str, dict[str, object]]:
    found = {}
    for index, node in enumerate(nodes):
        kind = node.address.partition("/")[0]
        found[node.address] = {
            "spec": {"value": node.value, "image": node.image, "sealed": node.value},
            "needs": sorted({nodes[index - back].address for back in node.needs if back <= index}),
            "replace_on": ["image"],
            "beside": node.beside and kind == "service",
            "data": kind == "volume",
            "once": kind == "job",
        }
    return found


def _meddle(bench: Bench, meddling: _Meddling) -> None:
    world = bench.world
    things = sorted((thing for thing in world.things.values() if thing.owner == "mine"), key=lambda thing: thing.key)
    if not things:
        return
    thing = things[meddling.thing % len(things)]
    does: dict[str, Callable[[], None]] = {
        "remove": lambda: world.remove(thing.key),
        "edit": lambda: world.put(replace(thing, spec={**thing.spec, "value": 9})),
        "stop": lambda: world.put(replace(thing, running=False)),
        "relabel": lambda: world.put(replace(thing, fingerprint="v1:00")),
        "double": lambda: world.put(replace(thing, instance=f"{thing.instance}x", holds_data=False)),
        "foreign": lambda: world.put(Thing("service/theirs", {"value": 7}, owner="foreign")),
    }
    does[meddling.what]()


def _converges(before: list[_Node], after: list[_Node], meddlings: list[_Meddling], troubles: list[_Trouble]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        leave = Options(delete_data=frozenset(_NAMES), allow_destroy=True)
        bench.reconciler().apply(wanting(graph(_desired(before))), leave)
        for meddling in meddlings:
            _meddle(bench, meddling)
        for trouble in troubles:
            if trouble.how == "unhealthy":
                bench.faults.terminal[trouble.step.partition(":")[2]] = "told so"
            else:
                {"before": bench.faults.fail, "after": bench.faults.fail_after}[trouble.how][trouble.step] = 1
        desired = wanting(graph(_desired(after)))
        with suppress(PartlyApplied):
            bench.reconciler().apply(desired, leave)
        bench.faults.fail.clear()
        bench.faults.fail_after.clear()
        bench.faults.terminal.clear()
        bench.reconciler().apply(desired, leave)
        assert str(bench.reconciler().plan(desired, leave)) == ""
        once = {node.address for node in after if node.address.startswith("job/")}
        standing = {address: thing for address, thing in bench.standing().items() if address not in once}
        wanted = {str(one.address): (dict(one.spec), True) for one in desired().resources if not one.one_shot}
        assert standing == wanted
        theirs = [thing for thing in bench.world.things.values() if thing.owner == "foreign"]
        assert all(thing.spec == {"value": 7} for thing in theirs)


_VOLUME = [_Node("volume/a", value=0, image=0, needs=frozenset(), beside=False)]


@pytest.mark.promise(18)
@settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(_NODES, _NODES, _MEDDLINGS, _TROUBLES)
# Of two that stand at a volume's address, the one with the data is the one to keep, whatever their labels say.
@example(_VOLUME, _VOLUME, [_Meddling(0, "double"), _Meddling(0, "relabel")], [])
def test_any_graph_any_world_and_any_failures_converge_within_two_applies(
    before: list[_Node], after: list[_Node], meddlings: list[_Meddling], troubles: list[_Trouble]
) -> None:
    _converges(before, after, meddlings, troubles)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.promise(18)
@settings(max_examples=2000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(_NODES, _NODES, _MEDDLINGS, _TROUBLES)
def test_two_thousand_graphs_worlds_and_failures_converge_within_two_applies(
    before: list[_Node], after: list[_Node], meddlings: list[_Meddling], troubles: list[_Trouble]
) -> None:
    _converges(before, after, meddlings, troubles)
