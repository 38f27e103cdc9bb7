"""Steps that go together in one play: each has its own end, is told in its own words, and says no secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from paictl.drivers.ansible import acting, running
from paictl.drivers.ansible.driver import AnsibleDriver
from paictl.engine.fingerprint import fingerprint
from paictl.engine.model import Resource, Step
from paictl.errors import PaictlError
from paictl.events import ignore
from tests.drivers.ansible.conftest import Reconciling
from tests.drivers.ansible.stack import Shared, Stack, made_stack
from tests.engine.graphs import lines, wanting

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The tasks' files of each play that ran, as they were written."""
    seen: list[Sequence[str]] = []
    real = running.run

    def watched(*arguments: Any, **words: Any) -> Any:
        seen.append([str(text) for path, text in words["files"].items() if path.startswith("steps/")])
        return real(*arguments, **words)

    monkeypatch.setattr(acting, "run", watched)
    return seen


@pytest.fixture
def other(shared: Shared) -> Iterator[Stack]:
    """Another agent on the same host."""
    with made_stack([shared.host], shared.reached) as made:
        yield made


def _step(resource: Resource, action: Any = "create") -> Step:
    return Step(
        f"{action}:{resource.address}",
        resource.address,
        action,
        "x",
        resource=resource,
        fingerprint=fingerprint(resource.spec),
    )


def _all(driver: AnsibleDriver, stack: Stack, steps: Sequence[Step]) -> Mapping[str, PaictlError | None]:
    """Each step at the same time as the others, and what came of it."""

    def one(step: Step) -> PaictlError | None:
        try:
            driver.act(step, secrets=stack.secrets, emit=ignore)
        except PaictlError as error:
            return error
        return None

    with ThreadPoolExecutor(8) as pool:
        return dict(zip((str(step.address) for step in steps), pool.map(one, steps), strict=True))


def test_steps_of_one_moment_share_a_play_and_what_fails_in_it_is_told_in_its_own_words(
    stack: Stack, plays: list[Sequence[str]]
) -> None:
    driver = stack.driver()
    build, data, extra, good, bad = stack.resources()
    driver.act(_step(build), secrets=stack.secrets, emit=ignore)
    driver.act(_step(data), secrets=stack.secrets, emit=ignore)
    bad.spec["text"] = str(bad.spec["text"]).replace("/usr/bin/python3", "/usr/bin/no-such-program")  # type: ignore[index]
    plays.clear()
    came = _all(driver, stack, [_step(one) for one in (extra, good, bad)])
    assert len(plays) < 3
    assert (came["secret/extra"], came["service/gateway"]) == (None, None)
    error = came["service/agent"]
    assert error is not None
    assert error.summary.startswith(f"{stack.host.name}: Tell why it does not start: ")
    assert f"paictl-{stack.agent}-agent.service" in error.summary
    seen = {str(one.address): one for one in driver.observe(stack.scope).resources}
    assert seen["service/gateway"].fingerprint == fingerprint(good.spec)
    # Begun, and so ours; but as nobody wanted it.
    assert seen["service/agent"].fingerprint == ""
    assert seen["service/agent"].owner == "mine"


@pytest.mark.promise(23)
def test_a_secret_is_in_no_event_no_error_no_record_and_no_look(stack: Stack, plays: list[Sequence[str]]) -> None:
    driver, heard = stack.driver(), []
    build, _, extra, *_ = stack.resources()
    value = stack.secrets("extra").decode()
    for one in (build, extra):
        driver.act(_step(one), secrets=stack.secrets, emit=lambda event: heard.append(repr(event)))
    folder = f"/etc/paictl/{stack.agent}/secrets"
    assert stack.host.exec(["cat", f"{folder}/extra"]) == value
    stack.host.exec(["sh", "-ec", f"rm -r {folder}; touch {folder}"])
    with pytest.raises(PaictlError) as error:
        driver.act(_step(extra), secrets=stack.secrets, emit=lambda event: heard.append(repr(event)))
    assert "what it said may hold a secret" in error.value.summary
    records = stack.host.exec(
        ["sh", "-c", "cat /var/lib/paictl/.records/*/* /var/lib/paictl/.found/*; journalctl --quiet"]
    )
    told = "\n".join(
        [*heard, *(text for one in plays for text in one), str(error.value), repr(driver.observe(stack.scope))]
    )
    assert value not in told
    assert value not in records


@pytest.mark.promise(2)
def test_what_was_altered_by_hand_is_told_by_name_and_mended(stack: Stack, reconciler: Reconciling) -> None:
    reconciler().apply(wanting(stack.resources()))
    unit = f"/etc/systemd/system/paictl-{stack.agent}-gateway.service"
    config = f"/etc/paictl/{stack.agent}/config/agent.py"
    stack.host.exec(
        [
            "sh",
            "-ec",
            f"echo '# more' >>{unit}; chmod 600 {config}; systemctl disable --quiet paictl-{stack.agent}-agent",
        ]
    )
    plan = reconciler().plan(wanting(stack.resources()))
    assert lines(plan) == [
        f"~ service/gateway because {unit} was changed by hand; downtime",
        f"~ service/agent because {config}, paictl-{stack.agent}-agent.service was changed by hand; downtime",
    ]
    reconciler().apply(wanting(stack.resources()))
    assert reconciler().plan(wanting(stack.resources())).empty
    assert "more" not in stack.host.exec(["cat", unit])
    assert stack.host.exec(["systemctl", "is-enabled", f"paictl-{stack.agent}-agent"]) == "enabled\n"


@pytest.mark.promise(12)
def test_two_agents_on_a_host_leave_each_other_alone_and_the_last_takes_the_common_things_away(
    stack: Stack, other: Stack, reconciler: Reconciling
) -> None:
    reconciler().apply(wanting(stack.resources()))
    driver = other.driver()
    for one in other.resources():
        driver.act(_step(one), secrets=other.secrets, emit=ignore)
    assert reconciler().plan(wanting(stack.resources())).empty
    standing = {str(one.address): one for one in driver.observe(other.scope).resources}
    assert all(one.owner == "mine" for one in standing.values())
    for address in ("service/agent", "service/gateway", "secret/extra", "volume/memory", "runtime/small"):
        gone = standing[address]
        driver.act(
            Step(f"delete:{address}", gone.address, "delete", "x", observed=gone), secrets=other.secrets, emit=ignore
        )
    assert other.leftovers() == []
    assert reconciler().plan(wanting(stack.resources())).empty
    assert reconciler().status().ready
