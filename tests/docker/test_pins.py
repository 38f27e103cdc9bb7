from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paictl.drivers.docker import images
from paictl.drivers.docker.pins import pin
from paictl.errors import PaictlError, Refused, Unreachable
from paictl.events import Event, ignore
from tests.docker.conftest import Reached
from tests.docker.registry import Registry, image_file, program, served

pytestmark = pytest.mark.docker


@pytest.fixture
def registry(engine: Reached, tmp_path: Path) -> Iterator[Registry]:
    if program() is None:
        reason = "no registry: apt-get install docker-registry"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with served(engine.api, tmp_path / "registry") as running:
        yield running
        running.forget()


@pytest.fixture
def local(engine: Reached, registry: Registry) -> Iterator[str]:
    """An image that was loaded, and that no registry has, not even the one that its name names."""
    name = f"{registry.host}/local-{uuid.uuid4().hex[:8]}:mine"
    list(engine.api.load_image(image_file(name, name, str(engine.api.version()["Arch"]))))  # type: ignore[no-untyped-call] # the SDK's stubs give it no types
    yield name
    engine.api.remove_image(name)


def asking(engine: Reached, reference: str) -> tuple[Callable[[], str], Callable[[], str]]:
    """Both ways in which a registry is asked."""
    return (
        lambda: pin(engine.api, reference, ignore),
        lambda: images.pull(engine.api, reference, ignore, offline=False),
    )


def other_than(architecture: str) -> str:
    return "arm64" if architecture == "amd64" else "amd64"


def test_a_tag_is_pinned_to_what_its_registry_says_now(engine: Reached, registry: Registry) -> None:
    reference = registry.push("one:1", "first")
    first = pin(engine.api, reference, ignore)
    assert re.fullmatch(rf"{registry.host}/one@sha256:[0-9a-f]{{64}}", first)
    assert images.pull(engine.api, first, ignore, offline=False) == images.present(engine.api, first)
    registry.push("one:1", "second")
    second = pin(engine.api, reference, ignore)
    assert second != first
    assert pin(engine.api, first, ignore) == first, "a digest means itself"
    images.remove(engine.api, first)
    assert not images.present(engine.api, first)


def test_offline_or_without_its_registry_a_tag_stays_at_what_the_engine_has(
    engine: Reached, registry: Registry, tmp_path: Path
) -> None:
    reference = registry.push("two:1", "first")
    images.pull(engine.api, reference, ignore, offline=False)
    known = pin(engine.api, reference, ignore)
    registry.push("three:1", "elsewhere")
    assert pin(engine.api, reference, ignore, offline=True) == known
    with served(engine.api, tmp_path / "gone") as gone:
        left = gone.push("four:1", "left")
        images.pull(engine.api, left, ignore, offline=False)
        pinned = pin(engine.api, left, ignore)
    told: list[Event] = []
    assert pin(engine.api, left, told.append) == pinned
    assert [event.type for event in told] == ["warning"]
    images.remove(engine.api, left)
    with pytest.raises(Unreachable, match="the engine can't get the image"):
        pin(engine.api, left, ignore)
    with pytest.raises(Unreachable, match="the engine can't get the image"):
        images.pull(engine.api, left, ignore, offline=False)
    with pytest.raises(Refused, match="--offline forbids to ask its registry"):
        pin(engine.api, left, ignore, offline=True)
    with pytest.raises(Refused, match="--offline forbids to pull it"):
        images.pull(engine.api, left, ignore, offline=True)


def test_an_image_that_only_the_engine_has_is_pinned_by_its_id_and_never_removed(engine: Reached, local: str) -> None:
    pinned = pin(engine.api, local, ignore)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", pinned)
    assert pin(engine.api, pinned, ignore, offline=True) == pinned
    assert images.pull(engine.api, pinned, ignore, offline=True) == pinned
    engine.api.tag(pinned, f"{local.rpartition(':')[0]}/alias", "1")
    images.remove(engine.api, f"{local.rpartition(':')[0]}/alias:1")
    images.remove(engine.api, pinned)
    assert images.present(engine.api, local) == pinned, "it can't be had again"


def test_an_image_of_ones_own_is_never_taken_for_a_published_one_of_its_name(
    engine: Reached, registry: Registry, local: str
) -> None:
    mine = images.present(engine.api, local)
    reference = registry.push(local.removeprefix(f"{registry.host}/"), "somebody else's")
    list(engine.api.load_image(image_file(local, local, str(engine.api.version()["Arch"]))))  # type: ignore[no-untyped-call] # the SDK's stubs give it no types
    assert reference == local
    assert pin(engine.api, local, ignore) == mine


def test_an_id_that_the_engine_has_not_is_told_before_anything_is_asked(engine: Reached) -> None:
    unknown = f"sha256:{'0' * 64}"
    with pytest.raises(PaictlError, match="the engine has no image sha256:0000"):
        pin(engine.api, unknown, ignore)
    with pytest.raises(PaictlError, match="exists on one engine only"):
        images.pull(engine.api, unknown, ignore, offline=False)


def test_a_missing_tag_is_the_registrys_word_not_a_network_failure(engine: Reached, registry: Registry) -> None:
    reference = registry.push("one:1", "first")
    missing = f"{reference.rpartition(':')[0]}:2"
    for attempt in asking(engine, missing):
        with pytest.raises(PaictlError, match="the registry has no image") as caught:
            attempt()
        assert not isinstance(caught.value, Unreachable)


def test_a_registry_that_wants_a_login_is_told_as_such(engine: Reached, tmp_path: Path, registry: Registry) -> None:
    with served(engine.api, tmp_path / "closed", closed=True) as closed:
        for attempt in asking(engine, f"{closed.host}/one:1"):
            with pytest.raises(PaictlError, match="does not give us the image") as caught:
                attempt()
            assert "docker login" in caught.value.help


def test_an_image_of_another_architecture_is_refused_and_not_kept(engine: Reached, registry: Registry) -> None:
    here = str(engine.api.version()["Arch"])
    reference = registry.push("foreign:1", "foreign", other_than(here))
    for attempt in asking(engine, reference):
        with pytest.raises(Refused, match=f"is for linux/{other_than(here)}, and this engine runs linux/{here}"):
            attempt()
    assert not images.present(engine.api, reference)


def test_what_we_pulled_goes_with_our_name_and_what_was_there_before_stays(engine: Reached, registry: Registry) -> None:
    api = engine.api
    ours, theirs = pin(api, registry.push("ours:1", "ours"), ignore), registry.push("theirs:1", "theirs")
    list(api.pull(theirs, stream=True, decode=True))
    alias = f"paictl/{uuid.uuid4().hex[:8]}/it"
    for number, reference in enumerate((ours, theirs)):
        id_ = images.pull(api, reference, ignore, offline=False)
        api.tag(id_, alias, str(number))
    for number in (0, 1):
        images.remove(api, f"{alias}:{number}")
    assert not images.present(api, ours)
    assert images.present(api, theirs)
    mark = f"paictl-pulled:{hashlib.sha256(ours.encode()).hexdigest()[:12]}"
    assert not [one for one in api.images() if mark in (one["RepoTags"] or ())]
    images.remove(api, theirs)


def test_what_another_agent_uses_too_stays_until_it_goes_as_well(engine: Reached, registry: Registry) -> None:
    api = engine.api
    reference = pin(api, registry.push("shared:1", "shared"), ignore)
    aliases = [f"paictl/{uuid.uuid4().hex[:8]}/it" for _ in range(2)]
    for alias in aliases:
        api.tag(images.pull(api, reference, ignore, offline=False), alias, "1")
    images.remove(api, f"{aliases[0]}:1")
    assert images.present(api, reference)
    made = api.create_container(reference, name=f"paictl-test-{uuid.uuid4().hex[:8]}", labels=["paictl.test"])
    try:
        images.remove(api, f"{aliases[1]}:1")
        assert images.present(api, reference), "a container was made from it"
    finally:
        api.remove_container(made["Id"])
    images.remove(api, reference)
    assert not images.present(api, reference)
