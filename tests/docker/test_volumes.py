"""Who may write into a volume, and what a volume that holds something is spared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from paictl.drivers.docker.execution import run
from paictl.drivers.docker.uploads import put_text
from paictl.engine.fingerprint import fingerprint
from paictl.engine.model import Resource, Step
from paictl.errors import Refused
from paictl.events import ignore
from tests.docker.conftest import Reached
from tests.drivers.docker.stack import Stack, made_stack
from tests.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.slow]

IMAGE = "paictl-test/base:bookworm"
OURS = "65532:65532"


@pytest.fixture
def stack(engine: Reached, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    with made_stack(IMAGE) as made:
        yield made


def make(stack: Stack, *resources: Resource) -> None:
    """As the executor does, one by one, with the fingerprints that the planner gives."""
    for resource in resources:
        step = Step(
            f"create:{resource.address}",
            resource.address,
            "create",
            "the test wants it",
            resource=resource,
            fingerprint=fingerprint(resource.spec),
        )
        stack.driver().act(step, secrets=stack.secrets, emit=ignore)


def make_all(stack: Stack, **changes: Any) -> None:
    """Everything that the service needs, and the service; its image has no directory where the volume goes."""
    needed = [one for one in stack.resources() if one.address.kind != "service"]
    make(stack, *needed, stack.service("inner", "volume/door", **changes))


def said(stack: Stack, script: str, user: str = "") -> str:
    """What a shell command says inside the service's container."""
    container = f"{stack.agent}-inner-1"
    until(lambda: bool(stack.api.inspect_container(container)["State"]["Running"]), "it runs")
    done = run(stack.driver().connection, container, ["sh", "-c", script], user=user)
    return (done.stdout + done.stderr).decode().strip()


def test_a_new_volume_belongs_to_its_service_where_the_image_has_no_such_directory(stack: Stack) -> None:
    make_all(stack)
    assert said(stack, "stat -c %u:%g /data; touch /data/note; ls /data") == f"{OURS}\nnote"
    assert not stack.api.containers(all=True, filters={"label": [f"paictl.agent={stack.agent}", "paictl.kind=upload"]})


def test_what_a_person_put_into_a_volume_keeps_its_owner_and_content(stack: Stack) -> None:
    needed = [one for one in stack.resources() if one.address.kind != "service"]
    make(stack, *needed)
    marks = {"paictl.agent": stack.agent, "paictl.kind": "upload"}
    put_text(stack.driver().connection, stack.engine_name("door"), IMAGE, {"diary": "kept"}, marks)
    make(stack, stack.service("inner", "volume/door"))
    assert said(stack, "stat -c %u:%g:%a /data /data/diary; cat /data/diary") == "0:0:755\n0:0:444\nkept"


def test_a_service_made_anew_finds_its_volume_as_it_left_it(stack: Stack) -> None:
    make_all(stack)
    said(stack, "echo kept >/data/diary; chmod 0710 /data")
    stack.say["inner"] = "another"
    make_all(stack)
    assert said(stack, "stat -c %u:%g:%a /data; cat /data/diary") == f"{OURS}:710\nkept"


def test_a_directory_that_the_image_has_gives_the_volume_its_owner(stack: Stack) -> None:
    mounts = [{"type": "volume", "source": "door", "target": "/var/tmp"}]
    make_all(stack, volumes=mounts)
    assert said(stack, "stat -c %u:%g:%a /var/tmp; touch /var/tmp/x && echo written") == "0:0:1777\nwritten"


def test_a_volume_that_the_image_would_fill_stays_empty_when_it_is_told_to(stack: Stack) -> None:
    mounts = [{"type": "volume", "source": "door", "target": "/etc/apt", "volume": {"nocopy": True}}]
    make_all(stack, volumes=mounts)
    assert said(stack, "stat -c %u:%g /etc/apt; ls -A /etc/apt | wc -l") == f"{OURS}\n0"


@pytest.mark.promise(12)
def test_a_volume_with_data_is_not_made_anew_for_other_options(stack: Stack) -> None:
    make_all(stack)
    said(stack, "echo kept >/data/diary")
    stack.api.remove_container(f"{stack.agent}-inner-1", force=True)
    wanted = next(one for one in stack.resources() if one.holds_data)
    other = replace(wanted, spec={**wanted.spec, "options": {"type": "tmpfs", "device": "tmpfs"}})
    with pytest.raises(Refused, match="has other options than it was made with, and may hold data"):
        make(stack, other)
    make_all(stack)
    assert said(stack, "cat /data/diary") == "kept"
