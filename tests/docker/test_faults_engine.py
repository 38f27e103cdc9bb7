"""Faults of the engine itself: it ends in the middle, is away, answers in part, comes back, and is cleared by hand."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from paictl.engine.intent import Options
from paictl.engine.points import OnPoint, pass_by
from paictl.engine.reconciler import Reconciler
from paictl.errors import PaictlError, PartlyApplied, Unreachable
from paictl.events import Event
from tests.crash.docker_world import CrashStack
from tests.docker import engine as engines
from tests.docker import stock
from tests.docker.broken import broken_engine
from tests.docker.daemon import Engine
from tests.engine.graphs import no_secrets, wanting

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@dataclass
class World:
    """A small agent on an engine that may be ended and cleared; what was emitted."""

    own: Engine
    stack: CrashStack
    state: Path
    events: list[Event] = field(default_factory=list)

    @property
    def api(self) -> docker.APIClient:
        return docker.APIClient(base_url=self.own.host, version="1.41", timeout=60)

    def reconciler(self, on_point: OnPoint = pass_by, **changes: Any) -> Reconciler:
        settings: dict[str, Any] = {
            "scope": self.stack.scope,
            "driver": self.stack.driver(),
            "state_dir": self.state,
            "secrets": no_secrets,
            "who": "alice",
            "emit": self.events.append,
            "on_point": on_point,
        }
        return Reconciler(**{**settings, **changes})

    def tokens(self) -> dict[str, str]:
        observed = self.stack.driver().observe(self.stack.scope).resources
        return {str(one.address): one.token for one in observed if one.owner == "mine"}


@pytest.fixture(scope="module")
def own() -> Iterator[Engine]:
    """An engine of this module's own: nobody else's is ended or cleared."""
    if reason := engines.lacking_own():
        pytest.skip(reason)
    with engines.private() as made:
        api = docker.APIClient(base_url=made.host, version="auto", timeout=120)
        stock.tiny(api)
        api.close()
        yield made


@pytest.fixture
def world(own: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DOCKER_HOST", own.host)
    api = docker.APIClient(base_url=own.host, version="auto", timeout=120)
    # By its id, as the lock pins what no registry has: clearing takes away other names of what is in use.
    inspect: Any = api.inspect_image  # published without types
    image = str(inspect(stock.tiny(api))["Id"])
    api.close()
    made = World(own, CrashStack(image), tmp_path / "state")
    yield made
    made.stack.clear()


@pytest.mark.promise(4, 10, 14)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_an_engine_that_ends_in_the_middle_is_told_and_the_next_apply_goes_on_from_there(
    world: World, number: signal.Signals
) -> None:
    first, second = world.stack.graphs()
    world.reconciler().apply(wanting(first))
    data = world.tokens()["volume/door"]
    ended = threading.Event()

    def end(point: str, about: str) -> None:
        if point == "after-begin" and about.startswith("create:service/inner@") and not ended.is_set():
            ended.set()
            world.own.signal(number)

    with pytest.raises(PartlyApplied, match="inner") as partly:
        world.reconciler(end).apply(wanting(second))
    assert partly.value.exit_code == 5
    told = f"{partly.value}\n{partly.value.help}"
    assert f"the Docker engine at {world.own.host} can't be reached" in told
    outcome = next(event.data for event in world.events if event.type == "outcome" and event.data["failed"])
    assert outcome["done"] or outcome["not_started"]
    for look in (lambda: world.reconciler().plan(wanting(second)), lambda: world.reconciler().status()):
        with pytest.raises(Unreachable):
            look()
    world.own.serve()
    world.reconciler().apply(wanting(second))
    assert world.reconciler().plan(wanting(second)).empty
    assert world.reconciler().status().ready
    assert world.tokens()["volume/door"] == data
    assert world.tokens().keys() == {str(one.address) for one in second}


@pytest.mark.promise(4)
def test_of_an_engine_that_is_away_nothing_is_planned_and_nothing_is_forgotten(world: World) -> None:
    first, _ = world.stack.graphs()
    world.reconciler().apply(wanting(first))
    before = world.tokens()
    world.own.kill()
    reconciler = world.reconciler()
    for verb in (
        lambda: reconciler.plan(wanting(first)),
        reconciler.plan_destroy,
        lambda: reconciler.apply(wanting(first)),
        reconciler.destroy,
        lambda: reconciler.rollback(1),
        reconciler.drift,
    ):
        with pytest.raises(Unreachable, match=r"can't be reached: there is no such socket|Connection refused"):
            verb()
    world.own.serve()
    # A daemon that was killed takes its containers for stopped by hand: that is seen, and mended.
    assert not world.reconciler().status().ready
    mended = world.reconciler().apply(wanting(first))
    assert {str(step.address) for step in mended.plan.steps} == {"service/inner", "service/outer"}
    assert world.reconciler().status().ready
    assert world.tokens() == before


@pytest.mark.promise(4)
def test_what_is_read_in_part_is_an_error_and_deletes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = world.stack.graphs()
    world.reconciler().apply(wanting(first))
    before = world.tokens()
    # A socket's path has to be short.
    with (
        tempfile.TemporaryDirectory() as folder,
        broken_engine(Path(folder), world.own.host) as broken,
        monkeypatch.context() as patch,
    ):
        patch.setenv("DOCKER_HOST", broken.host)
        assert world.reconciler().plan(wanting(first)).empty
        lists = {one.partition("?")[0].removeprefix("GET ") for one in broken.asked if one.startswith("GET ")}
        assert {"containers/json", "networks", "volumes", "images/json"} <= lists
        for path in sorted(one for one in lists if one.startswith(("containers/", "images/", "networks", "volumes"))):
            broken.path, broken.asked = path, []
            for verb in (
                lambda: world.reconciler().plan(wanting(first)),
                lambda: world.reconciler().apply(wanting(second)),
                lambda: world.reconciler().destroy(Options(delete_data=frozenset({"volume/door"}))),
            ):
                with pytest.raises(PaictlError, match="the disk is on fire"):
                    verb()
            # Nothing but the two locks is made, and let go of.
            gone = [one.removeprefix("DELETE ") for one in broken.writes if one.startswith("DELETE ")]
            made = [one.removeprefix("POST ") for one in broken.writes if one.startswith("POST ") and "create" in one]
            assert all("paictl-lock" in one for one in made), path
            assert len([one for one in gone if not one.startswith("images/paictl/empty")]) <= len(made) == 2, path
    assert world.tokens() == before


@pytest.mark.promise(12)
def test_clearing_the_engine_by_hand_takes_nothing_of_an_agent_that_runs_which_the_next_apply_does_not_make_again(
    world: World,
) -> None:
    first, _ = world.stack.graphs()
    world.reconciler().apply(wanting(first))
    before = world.tokens()
    for prune in (_system_prune, _volume_prune, _everything_prune):
        prune(world.api)
        world.reconciler().apply(wanting(first))
        assert world.tokens() == {**before, "network/extra": world.tokens()["network/extra"]}, prune
        assert world.reconciler().plan(wanting(first)).empty
        assert world.reconciler().status().ready


@pytest.mark.promise(12)
def test_clearing_the_engines_volumes_leaves_the_data_of_an_agent_that_was_removed(world: World) -> None:
    first, _ = world.stack.graphs()
    world.reconciler().apply(wanting(first))
    data = world.tokens()["volume/door"]
    world.reconciler().destroy()
    _volume_prune(world.api)
    assert world.tokens() == {"volume/door": data}
    world.reconciler().apply(wanting(first))
    assert world.tokens()["volume/door"] == data
    # As long as services have it, nothing else is to be in the way of it.
    assert not [one for one in world.stack.leftovers() if one.endswith("-kept")]
    world.reconciler().destroy()
    world.reconciler().destroy(Options(delete_data=frozenset({"volume/door"})))
    assert world.stack.leftovers() == []


# As `docker system prune`, `docker volume prune` and `docker system prune --all --volumes` ask an engine, in their order.
def _system_prune(api: docker.APIClient) -> None:
    prune: Any = api  # published without types
    prune.prune_containers()
    prune.prune_networks()
    prune.prune_images({"dangling": True})


def _volume_prune(api: docker.APIClient) -> None:
    api.prune_volumes()


def _everything_prune(api: docker.APIClient) -> None:
    prune: Any = api  # published without types
    prune.prune_containers()
    prune.prune_networks()
    prune.prune_volumes()
    prune.prune_images({"dangling": False})
