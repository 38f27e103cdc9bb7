"""Containers that somebody, or a crash, left in every state that an engine knows: seen, told, and put right by the next apply."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import docker
import pytest

from paictl.drivers.docker.containers import to_engine
from paictl.engine.intent import Options
from paictl.errors import Refused
from paictl.events import ignore
from tests.docker.conftest import Reached
from tests.docker.desk import Desk, made_desk
from tests.engine.graphs import wanting
from tests.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def standing(engine: Reached, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Applied once; every test leaves it whole."""
    with made_desk(engine, tmp_path_factory.mktemp("desk")) as made:
        made.apply(made.alone())
        yield made


@pytest.fixture
def desk(standing: Desk, monkeypatch: pytest.MonkeyPatch, engine: Reached) -> Iterator[Desk]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    yield standing
    assert standing.plan(standing.alone()) == ""
    assert standing.reconciler().status().ready
    assert len(_containers(standing)) == 1


def _containers(desk: Desk) -> list[dict[str, Any]]:
    return list(desk.api.containers(all=True, filters={"name": [f"{desk.stack.agent}-inner-"]}))


def _mended(desk: Desk, health: str, cause: str) -> None:
    """It is told as that, planned for that reason, and running again after an apply."""
    assert health in desk.status("service/inner").health.detail
    assert desk.plan(desk.alone()) == f"~ service/inner            because {cause}"
    desk.apply(desk.alone())


@pytest.mark.promise(14)
def test_one_paused_by_hand_goes_on_where_it_was(desk: Desk) -> None:
    before = desk.inspect()
    desk.api.pause(desk.container())
    _mended(desk, "it is paused", "it is not running")
    after = desk.inspect()
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])


@pytest.mark.promise(14)
@pytest.mark.parametrize(("hand", "said"), [("stop", "it has ended with exit status"), ("kill", "it has ended with")])
def test_one_ended_by_hand_is_started_again_not_made_anew(desk: Desk, hand: str, said: str) -> None:
    before = desk.inspect()
    # An engine takes a kill by hand for the wish that it stays down.
    getattr(desk.api, hand)(desk.container())
    until(lambda: not desk.inspect()["State"]["Running"], "its end")
    _mended(desk, said, "it is not running")
    assert desk.inspect()["Id"] == before["Id"]


def test_one_restarted_by_hand_is_nothing_to_do(desk: Desk) -> None:
    desk.api.restart(desk.container())
    until(lambda: desk.reconciler().status().ready, "it is well again")
    assert desk.plan(desk.alone()) == ""


@pytest.mark.promise(14)
def test_one_that_a_crash_left_made_and_never_started_is_made_anew(desk: Desk) -> None:
    api, service = desk.api, desk.alone()[-1]
    labels = desk.inspect()["Config"]["Labels"]
    api.remove_container(desk.container(), force=True)
    body = to_engine(dict(service.spec), labels, ["inner"])
    made = api.create_container_from_config(body, desk.container())["Id"]  # type: ignore[no-untyped-call] # the stubs leave it
    _mended(desk, "it was made and never started", "it is not running")
    assert desk.inspect()["Id"] != made


@pytest.mark.promise(14)
def test_one_whose_configuration_alone_is_left_is_made(desk: Desk) -> None:
    desk.api.remove_container(desk.container(), force=True)
    desk.apply(desk.alone())


@pytest.mark.promise(14)
def test_one_that_is_being_removed_at_the_same_moment_is_in_nobodys_way(desk: Desk) -> None:
    for number in range(2):
        desk.stack.say["inner"] = f"something new, {number}"
        [step] = desk.reconciler().plan(wanting(desk.alone())).steps
        # By somebody else, or by a paictl that was killed after it had asked.
        removing = threading.Thread(target=_force, args=(desk.api, desk.inspect()["Id"]))
        removing.start()
        desk.driver.act(step, secrets=desk.stack.secrets, emit=ignore)
        removing.join()
        assert [one["State"] for one in _containers(desk)] == ["running"]
    desk.apply(desk.alone())


def _force(api: docker.APIClient, container: str) -> None:
    # Either of the two may come too late.
    with suppress(docker.errors.APIError):
        api.remove_container(container, force=True)


@pytest.mark.promise(13)
def test_a_container_of_our_name_that_is_not_ours_is_refused_shown_and_taken_over_only_when_asked(desk: Desk) -> None:
    api, resources = desk.api, desk.alone()
    api.remove_container(desk.container(), force=True)
    waits = ["sh", "-c", "trap exit TERM; while sleep 0.1; do :; done"]
    theirs = api.create_container(desk.stack.image, waits, name=desk.container())["Id"]
    api.start(theirs)
    error, _ = desk.refused(resources, Refused)
    assert error.summary == "service/inner already exists and is not paictl's"
    assert "paictl adopt service/inner" in error.help
    [shown] = desk.reconciler().adoptable(wanting(resources))
    assert (str(shown.address), shown.handle) == ("service/inner", theirs)
    with pytest.raises(Refused, match="not confirmed"):
        desk.reconciler().adopt(wanting(resources), ["service/inner"], consent=lambda _: False)
    assert api.inspect_container(theirs)["State"]["Running"]
    desk.reconciler().adopt(wanting(resources), ["service/inner"])
    assert api.inspect_container(theirs)["State"]["Running"]
    desk.apply(resources)
    assert desk.inspect()["Id"] != theirs


@pytest.mark.promise(13)
def test_a_volume_of_our_name_that_is_not_ours_keeps_what_is_in_it_and_is_used_only_when_adopted(desk: Desk) -> None:
    api, name = desk.api, desk.stack.engine_name("door")
    api.create_volume(name, labels={"whose": "somebody's"})
    data = next(one for one in desk.stack.resources() if str(one.address) == "volume/door")
    resources = [*desk.alone(), data]
    error, _ = desk.refused(resources, Refused)
    assert error.summary == "volume/door already exists and is not paictl's"
    step = next(one for one in desk.reconciler().plan(wanting(desk.alone())).steps) if desk.plan(desk.alone()) else None
    assert step is None
    desk.reconciler().adopt(wanting(resources), ["volume/door"])
    desk.apply(resources)
    assert api.inspect_volume(name)["Labels"] == {"whose": "somebody's"}
    # It holds data: only whoever says so by name loses it.
    desk.apply(desk.alone())
    assert api.inspect_volume(name)["Labels"] == {"whose": "somebody's"}
    api.remove_volume(name)


@pytest.mark.promise(13)
def test_one_of_a_name_that_only_looks_like_ours_is_nobodys_business(desk: Desk) -> None:
    api, agent = desk.api, desk.stack.agent
    other = api.create_container(desk.stack.image, ["sleep", "infinity"], name=f"{agent}-inner-1-backup")["Id"]
    volume = f"{agent}_notes"
    api.create_volume(volume)
    desk.stack.say["inner"] = "hello, both"
    desk.apply(desk.alone())
    desk.reconciler().destroy(Options())
    assert api.inspect_container(other)
    assert api.inspect_volume(volume)
    api.remove_container(other)
    api.remove_volume(volume)
    desk.apply(desk.alone())
