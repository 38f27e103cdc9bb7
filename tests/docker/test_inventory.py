from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from paictl.drivers.docker import empty_image, ledger
from paictl.drivers.docker.connection import Connection, connect
from paictl.drivers.docker.naming import labels
from paictl.engine.driver import Scope
from paictl.errors import Refused
from tests.docker.conftest import Reached

pytestmark = pytest.mark.docker

_FULL = {"format": 1, "resources": {"service/ä": {"fingerprint": "v1:00"}}}


@dataclass
class World:
    connection: Connection
    scope: Scope

    def save(self, **more: object) -> None:
        ledger.save(self.connection, self.scope, {**_FULL, **more})

    def load(self) -> object:
        return ledger.load(self.connection, self.scope)

    def tear(self, slot: str, content: bytes) -> None:
        """Leave in place of a file what a crash in the middle of writing it would."""
        archive = empty_image.tar_of({slot: content})
        self.connection.api.put_archive(ledger.container_name(self.scope), "/paictl", archive)

    def standing(self) -> set[str]:
        api, mine = self.connection.api, self.scope.agent
        found = [one["Names"][0] for one in api.containers(all=True)]
        found += [one["Name"] for one in api.volumes()["Volumes"] or []]
        return {one for one in found if mine in one}


@pytest.fixture
def world(engine: Reached, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    made = World(connect(), Scope(f"ptest-{uuid.uuid4().hex[:10]}", "home"))
    yield made
    ledger.forget(made.connection, made.scope)
    left = made.standing()
    made.connection.close()
    assert left == set()


@pytest.mark.promise(15)
def test_what_was_saved_last_comes_back_to_another_connection(world: World) -> None:
    assert world.load() is None
    for number in range(5):
        world.save(number=number)
        other = connect()
        assert ledger.load(other, world.scope) == {**_FULL, "number": number}
        other.close()


@pytest.mark.promise(15)
@pytest.mark.parametrize(
    "torn", [b"", b'{"format": 1, "num', b'{"number": 9, "inventory": "{}", "sha256": "0"}', b"\xff"]
)
def test_a_file_torn_by_a_crash_costs_only_the_last_save(world: World, torn: bytes) -> None:
    world.save(number=1)
    world.save(number=2)
    world.tear("inventory-0.json", torn)
    assert world.load() == {**_FULL, "number": 1}
    world.save(number=3)
    assert world.load() == {**_FULL, "number": 3}


@pytest.mark.promise(1)
def test_reading_writes_nothing(world: World) -> None:
    assert world.load() is None
    assert world.standing() == set()
    world.save()
    before, calls = (
        world.connection.api.containers(all=True, filters={"name": world.scope.agent}),
        world.connection.calls,
    )
    assert world.load() == _FULL
    assert world.connection.calls - calls <= 3
    assert world.connection.api.containers(all=True, filters={"name": world.scope.agent}) == before


def test_it_is_found_again_after_its_container_was_pruned(world: World) -> None:
    world.save()
    world.connection.api.remove_container(ledger.container_name(world.scope))
    world.connection.close()
    assert world.load() == _FULL


def test_of_another_target_nothing_is_read_and_nothing_overwritten(world: World) -> None:
    world.save()
    other = Scope(world.scope.agent, "elsewhere")
    assert ledger.load(world.connection, other) is None
    with pytest.raises(Refused, match=f"which is {world.scope.agent}'s on home"):
        ledger.save(world.connection, other, _FULL)
    assert world.load() == _FULL


@pytest.mark.promise(13)
def test_a_volume_that_is_not_ours_is_refused_and_stays(world: World) -> None:
    name, api = ledger.volume_name(world.scope), world.connection.api
    before = api.create_volume(name, labels={"whose": "theirs"})
    try:
        assert world.load() is None
        with pytest.raises(Refused, match=f"a volume named {name}, which is not paictl's"):
            world.save()
        ledger.forget(world.connection, world.scope)
        assert api.inspect_volume(name) == before
        assert world.standing() == {name}
    finally:
        api.remove_volume(name)


@pytest.mark.promise(7)
def test_once_nothing_is_left_an_empty_record_removes_the_last_of_it(world: World) -> None:
    ledger.save(world.connection, world.scope, {"resources": {}})
    assert world.standing() == set()
    world.save()
    api = world.connection.api
    data = api.create_volume(f"{world.scope.agent}_data", labels=labels(world.scope, "volume", "data"))["Name"]
    ledger.save(world.connection, world.scope, {"resources": {}, "kept": 1})
    assert world.load() == {"resources": {}, "kept": 1}
    api.remove_volume(data)
    ledger.save(world.connection, world.scope, {"resources": {}})
    assert world.standing() == set()
    assert world.load() is None
