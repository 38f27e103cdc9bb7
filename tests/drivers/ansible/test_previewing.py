"""Looking ahead: what steps would change on a host, line by line, without a byte of it being other afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from paictl.engine.model import Resource, Step
from paictl.engine.preview import Preview
from paictl.errors import PaictlError
from paictl.events import ignore
from tests.drivers.ansible.conftest import Reconciling
from tests.drivers.ansible.stack import Stack
from tests.engine.graphs import wanting
from tests.hosts import host as one
from tests.hosts.found import differences, state
from tests.hosts.home import HostHome
from tests.hosts.host import Host
from tests.hosts.lan import Lan

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]

# What the comparison of hosts leaves out: records, what was found before, what was brought; and where programs leave things. Every
# module of Ansible's, a look's too, is for a moment in /tmp, so of directories their times are left out.
_PLACES = "/var/lib/paictl /home /root /tmp /var/tmp /dev/shm"
_REST = rf"find {_PLACES} \( -type d -printf '%p %m %u\n' \) -o -printf '%p %m %u %s %T@ %C@\n' 2>/dev/null | sort"


def _everything(host: Host) -> tuple[Mapping[str, Mapping[str, object]], str]:
    return state(host), host.exec(["sh", "-c", _REST])


def _same(before: tuple[Mapping[str, Mapping[str, object]], str], after: tuple[Any, str]) -> None:
    assert differences(before[0], after[0]) == []
    assert before[1] == after[1]


def _changed(preview: Preview) -> dict[str, list[str]]:
    """The lines that go and come, by path."""
    found = [one for task in preview.tasks for one in task.differences]
    return {one.path: [line for line in one.lines if line[0] in "+-"] for one in found}


def _step(resource: Resource) -> Step:
    return Step(f"create:{resource.address}", resource.address, "create", "x", resource=resource)


def _link(stack: Stack) -> Resource:
    """Its role runs the runtime's own Python, which no build of these tests has."""
    told = {
        "link_agent": stack.agent,
        "link_user": f"paictl-{stack.agent}",
        "link_code": "/opt/paictl/runtime/not-yet",
        "link_peers": [],
    }
    where = stack.host.name
    made = stack.made(f"link/{where}", where, {"role": "link", "content": "x"}, "runtime/small")
    return Resource(made.address, {**made.spec, "vars": told}, made.depends_on, place=where)


@pytest.mark.promise(1, 23)
def test_one_changed_setting_shows_exactly_the_lines_that_change_and_nothing_is_touched_or_told_of_a_secret(
    stack: Stack, reconciler: Reconciling
) -> None:
    heard: list[str] = []
    reconciler().apply(wanting(stack.resources()))
    stack.say["agent"] = "good morning"
    wanted = stack.resources()
    secret = next(one for one in wanted if one.address.kind == "secret")
    wanted[wanted.index(secret)] = Resource(
        secret.address, {**secret.spec, "content": "k1:01"}, secret.depends_on, place=secret.place
    )
    stack.secrets = _unreadable  # type: ignore[method-assign]
    engine = reconciler(emit=lambda event: heard.append(repr(event)))
    plan = engine.plan(wanting(wanted))
    before = _everything(stack.host)
    previews = engine.preview(plan)
    assert previews is not None
    assert {str(step.address) for step in plan.steps} == {"secret/extra", "service/agent"}
    assert [str(address) for address in previews] == ["service/agent"]
    told = _changed(previews[stack.address("service/agent")])
    assert told.pop(f"/etc/paictl/{stack.agent}/config/agent.py") == ["-SAY = 'hello'", "+SAY = 'good morning'"]
    unit = told.pop(f"/etc/systemd/system/{stack.unit('agent')}")
    assert [line.partition(":")[0] for line in unit] == ["-SetCredential=made-of", "+SetCredential=made-of"]
    assert told == {}
    _same(before, _everything(stack.host))
    value = f"the value of extra of {stack.agent}"
    assert value not in "".join(heard) + repr(previews)
    assert engine.plan(wanting(wanted)).hash == plan.hash


def _unreadable(name: str) -> bytes:
    raise PaictlError(f"{name} was read")


def test_what_stands_on_a_step_before_it_is_said_to_be_untold_and_the_others_are_told(stack: Stack) -> None:
    build, data, *_ = stack.resources()
    steps = [_step(one) for one in (build, data, _link(stack))]
    before = _everything(stack.host)
    previews = stack.driver().preview(steps, ignore)
    found = {str(address): one for address, one in previews.items()}
    link = found[f"link/{stack.host.name}"]
    assert link.untold.startswith("can't be told before runtime/small (Have a key of its own: ")
    assert (found["runtime/small"].untold, found["volume/memory"].untold) == ("", "")
    assert "Make the agent's user" in [task.name for task in found["runtime/small"].tasks if task.certain]
    assert [(task.certain, task.differences) for task in found["volume/memory"].tasks] == [(False, ())]
    assert stack.leftovers() == []
    _same(before, _everything(stack.host))


@pytest.fixture
def fresh(lan: Lan, tmp_path: Path) -> Iterator[HostHome]:
    server = one.begin(lan, "ahead")
    home = HostHome(tmp_path / "home", agent="beacon", host=server)
    home.folder.mkdir()
    home.copy("vps")
    login = f"{{address: {server.address}, user: {server.user}, password: provider, become_password: provider}}"
    home.edit("{address: 203.0.113.7, user: debian}", login)
    home.edit("spec:\n", "spec:\n  secrets:\n    provider: {from: env, name: PROVIDER_PASSWORD}\n")
    home.environment["PROVIDER_PASSWORD"] = server.password
    home.run("bootstrap", "--yes", "--trust-host-keys")
    yield home
    server.end()


@pytest.mark.promise(1, 23)
def test_on_a_fresh_host_whole_roles_are_told_and_neither_it_nor_this_machine_is_other_afterwards(
    fresh: HostHome,
) -> None:
    before, here = _everything(fresh.there), _files(fresh.folder)
    done = fresh.run("plan", "--diff", "-o", "json")
    _same(before, _everything(fresh.there))
    assert _files(fresh.folder) == here
    steps = {step["address"]: step["preview"] for step in json.loads(done.stdout)["steps"]}
    base, hardening = steps["base/vps1"], steps["hardening/vps1"]
    assert {task["name"] for task in base["tasks"]} > {"Say how much the journal may keep"}
    written = {one["path"]: one["lines"] for task in hardening["tasks"] for one in task["diff"]}
    assert "+PasswordAuthentication no" in written["/etc/ssh/sshd_config.d/10-paictl.conf"]
    assert [steps[f"secret/{name}"] for name in ("agent-token", "gateway-token")] == [None, None]
    assert [address for address, one in steps.items() if one and one["untold"]] == []
    assert fresh.there.password not in done.stdout + done.stderr


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
