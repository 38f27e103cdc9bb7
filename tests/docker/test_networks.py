"""Networks of one name, and things of others that bear ours: known by id and label, never touched, and told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from paictl.errors import PartlyApplied, Refused
from paictl.events import ignore
from tests.docker.conftest import Reached
from tests.docker.desk import Desk, made_desk
from tests.engine.graphs import wanting

pytestmark = [pytest.mark.docker, pytest.mark.slow]

_OPTIONS = {"com.docker.network.bridge.inhibit_ipv4": "true"}


@pytest.fixture
def desk(engine: Reached, tmp_path: Path) -> Iterator[Desk]:
    with made_desk(engine, tmp_path) as made:
        yield made


def _network(api: docker.APIClient, name: str, labels: dict[str, str] | None = None) -> str:
    """As another program makes it, which does not look whether there is one; its id."""
    try:
        made: dict[str, Any] = api.create_network(
            name, driver="bridge", internal=True, options=_OPTIONS, labels=labels or {}, check_duplicate=False
        )
    except docker.errors.APIError as error:
        if error.status_code == 409:
            pytest.skip("this engine lets no two networks share a name")
        raise
    return str(made["Id"])


def _ids(api: docker.APIClient, name: str) -> set[str]:
    return {one["Id"] for one in api.networks(names=[name]) if one["Name"] == name}


@pytest.mark.promise(13)
def test_a_network_of_our_name_that_is_not_ours_is_refused_shown_adopted_and_used(desk: Desk) -> None:
    api, name = desk.api, desk.stack.engine_name("inside")
    theirs = _network(api, name)
    resources = desk.alone()
    error, _ = desk.refused(resources, Refused)
    assert error.summary == "network/inside already exists and is not paictl's"
    assert "paictl adopt network/inside" in error.help
    assert _ids(api, name) == {theirs}
    assert not api.containers(all=True, filters={"name": [desk.container()]})
    [shown] = desk.reconciler().adoptable(wanting(resources))
    assert (str(shown.address), shown.owner, shown.handle) == ("network/inside", "unlabelled", theirs)
    desk.reconciler().adopt(wanting(resources), ["network/inside"])
    desk.apply(resources)
    assert desk.plan(resources) == ""
    assert _ids(api, name) == {theirs}
    desk.reconciler().destroy()
    assert _ids(api, name) == set()


@pytest.mark.promise(13)
def test_of_two_networks_of_one_name_ours_is_meant_and_the_other_is_never_touched(desk: Desk) -> None:
    api, name = desk.api, desk.stack.engine_name("inside")
    resources = desk.alone()
    desk.apply(resources)
    [ours] = _ids(api, name)
    theirs = _network(api, name)
    assert desk.plan(resources) == ""
    assert desk.reconciler().status().ready
    # Somebody joins ours: whoever mends that has to know which of the two it is.
    stranger = api.create_container(desk.stack.image, ["sleep", "infinity"], name=f"{desk.stack.agent}-stranger")["Id"]
    api.start(stranger)
    api.connect_container_to_network(stranger, ours)
    desk.apply(resources)
    assert ours not in {one["NetworkID"] for one in _places(api, stranger).values()}
    # This engine starts no container on a network whose name another has, too.
    desk.stack.say["inner"] = "something else"
    if desk.driver.connection.engine().version.startswith("20."):
        error, told = desk.refused(desk.alone(), PartlyApplied)
        assert f"network {name} is ambiguous (2 matches found on name)" in error.summary
        assert "remove the one without paictl's labels" in told
    desk.reconciler().destroy()
    assert _ids(api, name) == {theirs}


def _places(api: docker.APIClient, container: str) -> dict[str, Any]:
    found: dict[str, Any] = api.inspect_container(container)["NetworkSettings"]["Networks"]
    return found


def test_a_second_network_of_ours_goes_and_whoever_was_on_it_is_on_the_first(desk: Desk) -> None:
    api, name = desk.api, desk.stack.engine_name("inside")
    resources = desk.alone()
    desk.apply(resources)
    [first] = _ids(api, name)
    [labels] = [one["Labels"] for one in api.networks() if one["Id"] == first]
    second = _network(api, name, labels)
    [going] = [step.observed for step in desk.reconciler().plan(wanting(resources)).steps if step.action == "delete"]
    assert going is not None
    assert going.handle in {first, second}
    # Whichever of the two goes, the service is on it.
    api.disconnect_container_from_network(desk.container(), first)
    api.connect_container_to_network(desk.container(), going.handle, aliases=["inner"])
    assert {first, second} == _ids(api, name)
    desk.apply(resources)
    [left] = _ids(api, name)
    assert {one["NetworkID"] for one in _places(api, desk.container()).values()} == {left}
    assert desk.plan(resources) == ""


@pytest.mark.promise(13)
def test_one_that_another_makes_at_the_same_moment_is_left_to_them(desk: Desk) -> None:
    api, name = desk.api, desk.stack.engine_name("inside")
    plan = desk.reconciler().plan(wanting(desk.alone()))
    theirs = _network(api, name)
    [step] = [one for one in plan.steps if one.address.kind == "network"]
    with pytest.raises(Refused, match=f"there is a network {name} \\({theirs[:12]}\\) that is not paictl's"):
        desk.driver.act(step, secrets=desk.stack.secrets, emit=ignore)
    assert _ids(api, name) == {theirs}
