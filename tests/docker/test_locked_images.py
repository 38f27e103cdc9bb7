"""Images in the lock, from a real engine: what a name meant when it was locked is what runs, until somebody asks anew."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from paictl.manifest.lock import LockedImage
from paictl.manifest.lockfile import read_lock
from tests.docker import stock
from tests.docker.conftest import Reached
from tests.story.home import Home

pytestmark = pytest.mark.docker

# Nothing has to be fetched for it: its model is elsewhere.
MANIFEST = """\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {name: NAME, owner: alice}
spec:
  targets: {there: {driver: docker}}
  images: {base: "NAME/base:1", chroma: "NAME/chroma:1"}
  models: {chat: {task: chat, manage: external, url: "http://127.0.0.1:9/v1", model: m}}
  memory: {store: {engine: chroma}}
"""


@pytest.fixture
def home(engine: Reached, tmp_path: Path) -> Iterator[Home]:
    """A manifest whose two images have names of their own on the engine."""
    name = f"pins-{uuid.uuid4().hex[:8]}"
    home = Home(tmp_path, environment={"DOCKER_HOST": engine.host})
    home.manifest.parent.mkdir()
    home.manifest.write_text(MANIFEST.replace("NAME", name), encoding="utf-8")
    for image in ("base", "chroma"):
        engine.api.tag(stock.base(engine.api), f"{name}/{image}", "1")
    yield home
    for one in engine.api.images(name=f"{name}/*"):
        for tag in one["RepoTags"]:
            if tag.startswith(f"{name}/"):
                engine.api.remove_image(tag, noprune=True)


def images(home: Home) -> dict[str, LockedImage]:
    return dict(read_lock(home.manifest.with_name("agent.lock")).targets["there"].images)


def identity(engine: Reached, image: str) -> str:
    [found] = engine.api.images(name=image, quiet=True)
    return str(found)


def moved(home: Home, engine: Reached) -> str:
    """The name of the store's image means another image from here on, whose id this is."""
    name = images(home)["chroma"].intent.partition(":")[0]
    engine.api.tag(stock.tiny(engine.api), name, "1")
    return identity(engine, f"{name}:1")


def test_the_lock_holds_what_a_name_means_on_the_engine(home: Home, engine: Reached) -> None:
    home.run("lock")
    expected = identity(engine, stock.base(engine.api))
    # An engine with containerd's store gives a name to every digest.
    told = {name: image.reference.rpartition("@")[2] for name, image in images(home).items()}
    assert told == {"base": expected, "chroma": expected}


def test_a_name_that_moves_changes_nothing_until_the_lock_is_made_anew(home: Home, engine: Reached) -> None:
    home.run("lock")
    before = images(home)["chroma"].reference
    after = moved(home, engine)
    assert before in home.run("render").stdout
    home.run("lock", "--check", code=3)
    assert images(home)["chroma"].reference == before
    # Two references are wider than a terminal.
    told = "".join(home.run("lock").stdout.split())
    assert re.search(rf"~there\.images\.chroma\.reference:{before}->[^>]*{after}", told)
    assert after in home.run("render").stdout
    home.run("lock", "--check")


def test_locked_asks_nobody_and_refuses_what_it_does_not_know(home: Home) -> None:
    home.run("lock")
    home.edit("/chroma:1", "/chroma:2")
    refused = home.run("plan", "--locked", code=4).stderr
    assert "does not say which image chroma is" in refused


def test_an_image_that_the_engine_lacks_is_named_when_nobody_may_be_asked(home: Home) -> None:
    home.edit("/chroma:1", "/chroma:2")
    said = home.run("plan", "--offline", code=4).stderr
    assert "/chroma:2" in said
    assert "--offline" in said


def test_rendering_needs_no_engine(home: Home, tmp_path: Path) -> None:
    home.environment["DOCKER_HOST"] = f"unix://{tmp_path}/nobody.sock"
    assert "/chroma:1" in home.run("render").stdout
    assert "can't be reached" in home.run("plan", code=1).stderr
