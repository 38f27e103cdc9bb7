"""What recovery stands on, on a real engine: a lost or torn record, rollbacks, and worlds that somebody has been through by hand."""

from __future__ import annotations

import random
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker
import pytest

from paictl.drivers.docker.driver import DockerDriver
from paictl.drivers.docker.naming import AGENT
from paictl.engine.intent import Options
from paictl.engine.model import Resource
from paictl.engine.points import OnPoint, pass_by
from paictl.engine.reconciler import Reconciler
from paictl.errors import PaictlError, PartlyApplied, Refused
from paictl.events import Event
from tests.crash.docker_world import CrashStack, write
from tests.docker import stock
from tests.docker.conftest import Reached
from tests.engine.graphs import no_secrets, wanting
from tests.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.slow]

_SEEDS = 5


@dataclass
class Desk:
    """A person's machine with its state, and a small agent on the engine."""

    api: docker.APIClient
    stack: CrashStack
    state: Path
    events: list[Event] = field(default_factory=list)
    drivers: list[DockerDriver] = field(default_factory=list)

    def reconciler(self, on_point: OnPoint = pass_by) -> Reconciler:
        self.drivers.append(self.stack.driver())
        return Reconciler(
            scope=self.stack.scope,
            driver=self.drivers[-1],
            state_dir=self.state,
            secrets=no_secrets,
            who="alice",
            emit=self.events.append,
            on_point=on_point,
        )

    @property
    def folder(self) -> Path:
        return self.state / self.stack.agent / self.stack.scope.target

    def says(self, service: str, words: str) -> None:
        """Wait until the service has said what it was told to."""
        [standing] = self.containers(service)
        until(lambda: words in bytes(self.api.logs(standing)).decode(), f"{service} says {words}")

    def containers(self, service: str = "") -> list[str]:
        labels = [f"{AGENT}={self.stack.agent}", "paictl.kind=service"] + (
            [f"paictl.name={service}"] if service else []
        )
        return [str(one["Id"]) for one in self.api.containers(all=True, filters={"label": labels})]


@pytest.fixture
def desk(engine: Reached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    inspect: Any = engine.api.inspect_image  # published without types
    stack = CrashStack(str(inspect(stock.tiny(engine.api))["Id"]))
    made = Desk(engine.api, stack, tmp_path / "state")
    yield made
    for driver in made.drivers:
        driver.connection.close()
    stack.clear()


def _failing(resources: tuple[Resource, ...]) -> tuple[Resource, ...]:
    """The same, but the outer service ends as soon as it runs."""
    return tuple(
        replace(one, spec={**one.spec, "command": ["sh", "-c", "echo no good; exit 3"]})
        if one.address.name == "outer"
        else one
        for one in resources
    )


@pytest.mark.promise(15)
def test_a_lost_state_directory_is_rebuilt_from_the_engine_and_what_is_not_wanted_is_known_again(desk: Desk) -> None:
    first, second = desk.stack.graphs()
    desk.reconciler().apply(wanting(first))
    shutil.rmtree(desk.state)
    assert desk.reconciler().plan(wanting(first)).empty
    assert not desk.state.exists(), "a plan writes nothing"
    gone = {str(step.address) for step in desk.reconciler().plan(wanting(second)).steps if step.action == "delete"}
    assert "network/extra" in gone
    desk.reconciler().apply(wanting(first))
    assert desk.reconciler().plan(wanting(first)).empty
    # Without the engine's own record, too: its labels tell enough.
    desk.api.remove_container(f"{desk.stack.agent}-paictl-ledger")
    desk.api.remove_volume(desk.stack.engine_name("paictl"))
    shutil.rmtree(desk.state)
    assert desk.reconciler().plan(wanting(first)).empty


@pytest.mark.promise(15)
def test_a_journal_that_a_crash_has_torn_is_gone_on_from(desk: Desk) -> None:
    first, _ = desk.stack.graphs()
    with pytest.raises(PartlyApplied):
        desk.reconciler().apply(wanting(_failing(first)))
    journal = desk.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    desk.reconciler().apply(wanting(first))
    assert desk.reconciler().plan(wanting(first)).empty
    assert not journal.exists()
    assert len(desk.containers()) == 2


@pytest.mark.promise(13)
def test_a_volume_that_was_adopted_stays_ours_when_something_is_written_into_it(desk: Desk) -> None:
    first, _ = desk.stack.graphs()
    desk.api.create_volume(desk.stack.engine_name("door"))
    with pytest.raises(Refused, match="volume/door already exists and is not paictl's"):
        desk.reconciler().apply(wanting(first))
    desk.reconciler().adopt(wanting(first), ["volume/door"])
    desk.reconciler().apply(wanting(first))
    told = desk.api.inspect_volume(desk.stack.engine_name("door"))["CreatedAt"]

    def written() -> bool:
        # Older engines tell the time of the last change, in seconds, for that of creation.
        write(desk.api, desk.stack, secrets.token_hex(4))
        return bool(desk.api.inspect_volume(desk.stack.engine_name("door"))["CreatedAt"] != told)

    if desk.api.version()["ApiVersion"] == "1.41":
        until(written, "another time")
    assert desk.reconciler().plan(wanting(first)).empty


@pytest.mark.promise(17)
def test_a_rollback_is_an_ordinary_plan_and_a_failed_apply_ends_on_the_old_release(desk: Desk) -> None:
    first, second = desk.stack.graphs()
    desk.reconciler().apply(wanting(first))
    desk.reconciler().apply(wanting(second))
    rolled = desk.reconciler().rollback(1)
    assert rolled.release == 3
    assert {str(step.address) for step in rolled.plan.steps} >= {"service/inner", "service/outer", "network/extra"}
    desk.says("inner", "hello")
    before = desk.containers("inner")
    with pytest.raises(PartlyApplied, match="no good") as failed:
        desk.reconciler().apply(wanting(_failing(first)), Options(rollback_on_failure=True))
    assert failed.value.exit_code == 5
    status = desk.reconciler().status()
    assert status.ready
    assert desk.reconciler().plan(wanting(first)).empty
    desk.says("outer", "hello")
    assert desk.containers("inner") == before, "what the failed change did not touch is left alone"


@pytest.mark.promise(18)
@pytest.mark.parametrize("seed", range(_SEEDS))
def test_a_world_that_somebody_has_been_through_converges_within_two_applies_whatever_fails(
    desk: Desk, seed: int
) -> None:
    chance = random.Random(seed)
    graphs = desk.stack.graphs()
    desk.reconciler().apply(wanting(chance.choice(graphs)))
    done = [_damage(desk, chance) for _ in range(3)]
    wanted = chance.choice(graphs)
    point, nth = chance.choice(("after-begin", "after-effect", "during-wait")), chance.randint(1, 3)
    seen: list[str] = []

    def fail(here: str, about: str) -> None:
        seen.append(about) if here == point else None
        if here == point and len(seen) == nth:
            raise PaictlError(f"the test lets {about} fail {here}")

    with suppress(PartlyApplied):
        desk.reconciler(fail).apply(wanting(wanted))
    desk.reconciler().apply(wanting(wanted))
    assert desk.reconciler().plan(wanting(wanted)).empty, done
    assert desk.reconciler().status().ready, done
    assert len(desk.containers()) == 2, done


def _damage(desk: Desk, chance: random.Random) -> str:
    """One thing that people do by hand, to something of the agent's; its name."""
    api, container = desk.api, chance.choice(desk.containers() or [""])
    network = desk.stack.engine_name("inside")
    damages: dict[str, Callable[[], object]] = {
        "stop": lambda: api.stop(container, timeout=1),
        "kill": lambda: api.kill(container),
        "remove": lambda: api.remove_container(container, force=True),
        "pause": lambda: api.pause(container),
        "limit": lambda: api.update_container(container, mem_limit=48 << 20, memswap_limit=48 << 20),
        "disconnect": lambda: api.disconnect_container_from_network(container, network, force=True),
        "unnetwork": lambda: api.remove_network(desk.stack.engine_name("extra")),
        "untag": lambda: api.remove_image(desk.stack.alias),
        "forget": lambda: api.remove_container(f"{desk.stack.agent}-paictl-ledger"),
        "clear": lambda: [api.prune_volumes({"label": [f"{AGENT}={desk.stack.agent}"]})],
        "lose": lambda: shutil.rmtree(desk.state),
    }
    name = chance.choice(sorted(damages))
    with suppress(docker.errors.APIError, FileNotFoundError):  # it may be gone or paused already
        damages[name]()
    return name
