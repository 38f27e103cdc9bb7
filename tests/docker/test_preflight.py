"""What can't work on an engine is told before anything is written there, with who is in the way and what to do."""

from __future__ import annotations

import os
import socket
import uuid
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import psutil
import pytest

from paictl.blueprint.runtime import runtime_pin
from paictl.blueprint.types import Blueprint, Endpoint, Limits, RuntimePin, Upstream
from paictl.drivers.docker.driver import DockerDriver
from paictl.engine.driver import Scope
from paictl.engine.model import Address, Observation, Observed
from paictl.errors import Refused
from paictl.render.containers import image
from tests.docker import stock
from tests.docker.conftest import Reached
from tests.docker.registry import Registry, image_file, program, served
from tests.ports import free_port
from tests.render.blueprints import QUICKSTART

pytestmark = pytest.mark.docker

_NOTHING = Observation(())


@dataclass
class World:
    """An agent that stands nowhere yet, on the session's engine."""

    api: docker.APIClient
    blueprint: Blueprint
    driver: DockerDriver

    def check(self, observation: Observation = _NOTHING) -> None:
        self.driver.preflight(self.blueprint, observation)

    def refused(self, observation: Observation = _NOTHING) -> Refused:
        before = self.things()
        with pytest.raises(Refused) as raised:
            self.check(observation)
        assert raised.value.help
        assert self.things() == before
        return raised.value

    def things(self) -> list[str]:
        """Everything on the engine that bears the agent's name."""
        found = [one["Names"][0] for one in self.api.containers(all=True)]
        found += [one["Name"] for one in (*self.api.networks(), *(self.api.volumes()["Volumes"] or ()))]
        found += [tag for one in self.api.images() for tag in one["RepoTags"] or ()]
        return sorted(one for one in found if self.blueprint.agent in one)

    def with_image(self, reference: str) -> None:
        """A service of others' that runs that image."""
        first, *others = self.blueprint.services
        made = replace(first, upstream=Upstream("chroma", reference))
        self.blueprint = replace(self.blueprint, services=(made, *others))


@pytest.fixture
def world(engine: Reached, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    port = free_port()
    services = tuple(
        replace(one, endpoints=tuple(replace(each, port=port) if each.public else each for each in one.endpoints))
        for one in QUICKSTART.services
    )
    base = stock.base(engine.api)
    agent = f"pre{uuid.uuid4().hex[:8]}"
    driver = DockerDriver()
    yield World(
        engine.api,
        replace(QUICKSTART, agent=agent, services=services, base=base, runtime=runtime_pin(), weights=()),
        driver,
    )
    driver.connection.close()


@pytest.fixture
def registry(engine: Reached, tmp_path: Path) -> Iterator[Registry]:
    if program() is None:
        reason = "no registry: apt-get install docker-registry"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with served(engine.api, tmp_path / "registry") as running:
        yield running
        running.forget()


@contextmanager
def _loaded(api: docker.APIClient, architecture: str) -> Iterator[str]:
    """An image that only the engine has, said to be for that processor; its name."""
    name = f"paictl-test/pre-{uuid.uuid4().hex[:8]}:mine"
    list(api.load_image(image_file(name, name, architecture)))  # type: ignore[no-untyped-call] # the SDK's stubs give it no types
    try:
        yield name
    finally:
        api.remove_image(name)


def _door(world: World) -> Endpoint:
    return world.blueprint.public[1]


def test_nothing_in_the_way_is_no_reason_to_refuse(world: World) -> None:
    world.check()


def test_a_port_that_a_program_has_is_told_with_its_name_and_pid(world: World) -> None:
    me = psutil.Process()
    with socket.create_server(("127.0.0.1", _door(world).port)):
        refused = world.refused()
    assert refused.summary == f"port {_door(world).port} on 127.0.0.1 is taken by {me.name()} (pid {me.pid})"
    assert "spec.gateway.port" in refused.help


def test_a_port_that_a_container_has_is_told_with_its_name_unless_it_is_ours(world: World) -> None:
    port, name = _door(world).port, f"{world.blueprint.agent}-other"
    ours = {"paictl.agent": world.blueprint.agent, "paictl.target": world.blueprint.target}
    for labels, by in (({}, ""), ({**ours, "paictl.agent": "borea"}, "the agent borea, "), (ours, None)):
        host = world.api.create_host_config(port_bindings={80: ("127.0.0.1", port)})
        made = world.api.create_container(
            stock.tiny(world.api), ["sleep", "60"], name=name, ports=[80], labels=labels, host_config=host
        )["Id"]
        try:
            world.api.start(made)
            if by is None:
                world.check()
            else:
                assert world.refused().summary == f"port {port} on 127.0.0.1 is taken by {by}the container {name}"
        finally:
            world.api.remove_container(made, force=True)
    # On another address of the machine it is in nobody's way.
    host = world.api.create_host_config(port_bindings={80: ("127.0.0.2", port)})
    made = world.api.create_container(stock.tiny(world.api), ["sleep", "60"], name=name, ports=[80], host_config=host)
    try:
        world.api.start(made["Id"])
        world.check()
    finally:
        world.api.remove_container(made["Id"], force=True)


def test_an_image_for_another_processor_is_told_by_both_names(world: World) -> None:
    here = str(world.api.version()["Arch"])
    other = "arm64" if here == "amd64" else "amd64"
    with _loaded(world.api, other) as name:
        world.with_image(name)
        refused = world.refused()
        assert refused.summary == f"the image {name} is for linux/{other}, and this engine runs linux/{here}"
        assert "spec.images" in refused.help
    with _loaded(world.api, here) as name:
        world.with_image(name)
        world.check()
    with _loaded(world.api, other) as name:
        world.blueprint = replace(world.blueprint, base=name, services=QUICKSTART.services)
        assert world.refused().summary.startswith(f"the image {name} is for linux/{other}")


def test_an_image_that_nobody_has_is_told_before_anything_is_made(
    world: World, registry: Registry, tmp_path: Path
) -> None:
    pushed = registry.push("there:1", "there")
    world.with_image(pushed)
    world.check()
    world.with_image(f"{registry.host}/there:2")
    assert f"the registry has no image {registry.host}/there:2" in world.refused().summary
    with served(world.api, tmp_path / "gone") as gone:
        left = gone.push("left:1", "left")
    world.with_image(left)
    assert f"the engine can't get the image {left}" in world.refused().summary
    world.with_image(f"sha256:{'0' * 64}")
    assert "exists on one engine only" in world.refused().summary
    here = str(world.api.version()["Arch"])
    other = "arm64" if here == "amd64" else "amd64"
    world.with_image(registry.push("foreign:1", "foreign", other))
    assert f"is for linux/{other}, and this engine runs linux/{here}" in world.refused().summary
    world.driver.offline = True
    world.with_image(pushed)
    assert "--offline forbids to fetch" in world.refused().summary


def test_a_runtime_that_nobody_has_points_to_the_lock_unless_its_image_stands(world: World) -> None:
    world.blueprint = replace(world.blueprint, runtime=RuntimePin("9.9.9", "dead" * 16))
    refused = world.refused()
    assert "deaddeaddead (9.9.9)" in refused.summary
    assert "paictl lock" in refused.help
    address = Address(world.blueprint.target, "docker", "image", "runtime")
    world.check(Observation((Observed(address, "mine", {"tag": image(world.blueprint)}),)))


def test_a_second_network_of_a_name_of_ours_is_told_with_its_id(world: World) -> None:
    scope = Scope(world.blueprint.agent, world.blueprint.target)
    address = Address(scope.target, "docker", "network", "door")
    both = (Observed(address, "mine", {}, handle="a" * 64), Observed(address, "unlabelled", {}, handle="b" * 64))
    refused = world.refused(Observation(both))
    assert "there is a second network/door, bbbbbbbbbbbb, that is not paictl's" in refused.summary
    assert "docker network inspect bbbbbbbbbbbb" in refused.help
    assert world.driver.observe(scope).resources == ()


def test_more_memory_than_the_machine_has_points_to_fit(world: World) -> None:
    first, *others = world.blueprint.services
    world.blueprint = replace(world.blueprint, services=(replace(first, limits=Limits(memory=1 << 50)), *others))
    refused = world.refused()
    assert "the services need 1073741824 MiB of memory" in refused.summary
    assert "paictl fit" in refused.help


def test_a_graphics_card_that_the_engine_can_t_give_is_told(world: World) -> None:
    first, *others = world.blueprint.services
    world.blueprint = replace(world.blueprint, services=(replace(first, gpus="nvidia"), *others))
    refused = world.refused()
    assert refused.summary == f"{first.name}: a graphics card is wanted, and the engine has no runtime for one"
    assert "gpu: none" in refused.help


def test_an_engine_that_remaps_users_is_told_that_its_containers_could_read_no_secret(world: World) -> None:
    # As a daemon started with --userns-remap describes itself; seen to be so by hand.
    engine = world.driver.connection.engine()
    world.driver.connection._engine = replace(engine, security=(*engine.security, "userns"))
    refused = world.refused()
    assert "remaps users (userns-remap)" in refused.summary
    assert "without `userns-remap`" in refused.help


def test_a_disk_that_is_too_small_is_told_with_how_much_is_needed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - the shape of shutil's own
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10 << 30, 9 << 30, 1 << 30))
    refused = world.refused()
    assert "has 1024 MiB free, and 1264 MiB are needed there" in refused.summary
    assert "docker system df" in refused.help
    # The image stands already: it takes no room again.
    address = Address(world.blueprint.target, "docker", "image", "runtime")
    world.check(Observation((Observed(address, "mine", {"tag": image(world.blueprint)}),)))
