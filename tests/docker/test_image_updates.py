"""An image of others moves on at its registry: nothing follows but what the lock is made to say, and data stays where it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from paictl.drivers.docker import images
from paictl.drivers.docker.pins import pin
from paictl.engine.model import Resource
from paictl.events import ignore
from tests.docker import stock
from tests.docker.conftest import Reached
from tests.docker.desk import Desk, made_desk
from tests.docker.registry import Registry, program, served
from tests.engine.graphs import wanting

pytestmark = [pytest.mark.docker, pytest.mark.slow]

_WAITS = ["sh", "-c", "touch /tmp/ready; trap exit TERM; while sleep 0.1; do :; done"]


@pytest.fixture
def registry(engine: Reached, tmp_path: Path) -> Iterator[Registry]:
    if program() is None:
        reason = "no registry: apt-get install docker-registry"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with served(engine.api, tmp_path / "registry") as running:
        yield running
        running.forget()


@pytest.fixture
def desk(engine: Reached, registry: Registry, tmp_path: Path) -> Iterator[Desk]:
    assert registry  # which is cleared when nothing of this uses its images any more
    with made_desk(engine, tmp_path, stock.tiny(engine.api)) as made:
        yield made


def _publish(api: docker.APIClient, registry: Registry, version: str) -> None:
    """Something that runs, with the same tag and another content each time; the engine itself forgets it."""
    made = api.create_container(stock.tiny(api), ["touch", f"/{version}"], name=f"publish-{os.urandom(4).hex()}")["Id"]
    api.start(made)
    api.wait(made)
    name = f"{registry.host}/served"
    image: dict[str, Any] = api.commit(made, name, "1", changes=f"LABEL version={version}")
    api.remove_container(made)
    lines = list(api.push(f"{name}:1", stream=True, decode=True))
    assert not [line for line in lines if "error" in line], lines
    api.remove_image(image["Id"], force=True)


def _resources(desk: Desk) -> list[Resource]:
    image, *others = (one for one in desk.stack.resources() if one.address.kind != "service")
    # As the driver makes it of a blueprint.
    image = replace(image, replace_on=frozenset({"reference", "tag"}), create_first=True)
    return [image, *others, desk.stack.service("inner", "volume/door", command=_WAITS)]


def _version(desk: Desk) -> str:
    return str(desk.api.inspect_image(desk.inspect()["Image"])["Config"]["Labels"]["version"])  # type: ignore[no-untyped-call] # so the stubs leave it


def test_a_tag_that_moved_changes_nothing_until_the_lock_does_and_then_the_image_alone(
    desk: Desk, registry: Registry
) -> None:
    api, reference = desk.api, f"{registry.host}/served:1"
    _publish(api, registry, "first")
    first = desk.stack.image = pin(api, reference, ignore)
    desk.apply(_resources(desk))
    api.exec_start(api.exec_create(desk.container(), ["touch", "/data/kept"])["Id"])
    _publish(api, registry, "second")
    assert desk.plan(_resources(desk)) == ""

    second = desk.stack.image = pin(api, reference, ignore)
    assert second != first
    plan = desk.reconciler().plan(wanting(_resources(desk)))
    told = {
        (str(step.address), change.path): (change.before, change.after)
        for step in plan.steps
        for change in step.changes
    }
    assert told["image/base", "reference"] == (first, second)
    assert [str(step).partition(" because")[0].rstrip() for step in plan.steps] == [
        "+ image/base",
        "~ service/inner",
        "- image/base",
    ]
    desk.apply(_resources(desk))
    assert _version(desk) == "second"
    assert desk.plan(_resources(desk)) == ""
    assert api.exec_inspect(_ran(desk, "test", "-e", "/data/kept"))["ExitCode"] == 0
    assert not images.present(api, first), "what we pulled and nobody uses goes again"
    assert images.present(api, second)


def _ran(desk: Desk, *command: str) -> str:
    made = str(desk.api.exec_create(desk.container(), list(command))["Id"])
    desk.api.exec_start(made)
    return made


def test_names_that_somebody_moves_or_takes_away_on_the_engine_do_not_change_what_runs(
    desk: Desk, registry: Registry
) -> None:
    api, reference = desk.api, f"{registry.host}/served:1"
    _publish(api, registry, "first")
    desk.stack.image = pin(api, reference, ignore)
    desk.apply(_resources(desk))
    runs = desk.inspect()["Image"]
    # The tag by which it was locked now means what somebody built here.
    api.tag(stock.base(api), f"{registry.host}/served", "1")
    assert desk.plan(_resources(desk)) == ""
    api.remove_image(reference)
    # Our own name for it means something else, and then nothing.
    repository, _, tag = desk.stack.alias.rpartition(":")
    api.tag(stock.base(api), repository, tag, force=True)
    assert "image/base" in desk.plan(_resources(desk))
    desk.apply(_resources(desk))
    assert images.present(api, desk.stack.alias) == runs
    api.remove_image(desk.stack.alias, force=True)
    assert "image/base" in desk.plan(_resources(desk))
    desk.apply(_resources(desk))
    assert desk.plan(_resources(desk)) == ""
    assert desk.inspect()["Image"] == images.present(api, desk.stack.alias) == runs
