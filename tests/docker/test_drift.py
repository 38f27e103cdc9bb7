"""What people do to an agent by hand: the plan names it in words, an apply mends it, and the next plan is empty.

All of it is done at once to one small agent, each to a service of its own, and mended by one apply: the tests look at what came
of each. Where an apply may not mend it, because somebody's data or something that is not paictl's is in the way, that is tried
by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from docker.types import Mount

from paictl.drivers.docker.execution import run
from paictl.engine.fingerprint import fingerprint
from paictl.errors import ProtectedData, Refused
from tests.docker.conftest import Reached
from tests.docker.small import SECRET, Small, made_small, service
from tests.ports import free_port

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ByHand = Callable[[Small, str], None]


# A network of its own for those to whose network something is done: an engine has addresses for thirty.
_HUB, _OWN = "hub", ("stranger", "network", "roadless")


def _network(small: Small, name: str) -> str:
    return f"{small.agent}_to-{name if name in _OWN else _HUB}"


def _updated(**host: object) -> ByHand:
    return lambda small, name: small.update(name, **host)


def _joined(small: Small, name: str) -> None:
    """It can reach the machine and the outside from there."""
    small.api.connect_container_to_network(small.container(name), _foreign_network(small))


def _foreign_network(small: Small) -> str:
    made = f"{small.agent}-hand-made"
    if not small.api.networks(names=[made]):
        small.api.create_network(made, labels={"paictl.test": small.agent})
    return made


def _left(small: Small, name: str) -> None:
    small.api.disconnect_container_from_network(small.container(name), _network(small, name))


def _joined_again(small: Small, name: str) -> None:
    """As who does it by hand forgets: the others find it by no name."""
    _left(small, name)
    small.api.connect_container_to_network(small.container(name), _network(small, name))


def _made_anew(
    labels: Mapping[str, str] | None = None, number: int = 0, host: Mapping[str, object] | None = None
) -> ByHand:
    """From what `docker inspect` tells of it, with other labels or settings; with a number, beside it."""

    def make(small: Small, name: str) -> None:
        told = small.inspect(name)
        if not number:
            small.api.remove_container(told["Id"], force=True)
        network = _network(small, name)
        body = {
            **told["Config"],
            "Hostname": "",
            "Labels": {**told["Config"]["Labels"], **(labels or {})},
            "HostConfig": {**told["HostConfig"], **(host or {})},
            "NetworkingConfig": {"EndpointsConfig": {network: {"Aliases": [name]}}},
        }
        api: Any = small.api  # some of it has no types
        made = api.create_container_from_config(body, small.container(name, number or 1))["Id"]
        small.api.start(made)

    return make


def _stranger(small: Small, name: str) -> None:
    """Somebody's container on the network where only the gateway is to be."""
    labels = {"paictl.test": small.agent}
    host = small.api.create_host_config(network_mode=_network(small, name), init=True)
    made = small.api.create_container(
        small.stack.image, ["sleep", "100000"], host_config=host, labels=labels, name=f"{small.agent}-stranger"
    )
    small.api.start(made["Id"])


def _network_anew(small: Small, name: str) -> None:
    """With a way out, its members and its labels as before."""
    network = _network(small, name)
    told: Any = small.api.inspect_network(network)
    members = [small.container("door"), small.container(name)]
    for member in members:
        small.api.disconnect_container_from_network(member, network)
    small.api.remove_network(network)
    small.api.create_network(network, labels=told["Labels"], options=told["Options"], internal=False)
    for member, alias in zip(members, ("door", name), strict=True):
        small.api.connect_container_to_network(member, network, aliases=[alias])


def _network_gone(small: Small, name: str) -> None:
    network = _network(small, name)
    for member in ("door", name):
        small.api.disconnect_container_from_network(small.container(member), network)
    small.api.remove_network(network)


def _as_root(small: Small, volume: str, script: str) -> None:
    """In a container that mounts one of the agent's volumes."""
    host = small.api.create_host_config(mounts=[Mount("/it", f"{small.agent}_{volume}", no_copy=True)])
    command = ["sh", "-ec", script]
    made = small.api.create_container(small.stack.image, command, host_config=host, labels={"paictl.test": small.agent})
    small.api.start(made["Id"])
    assert small.api.wait(made["Id"])["StatusCode"] == 0, small.api.logs(made["Id"])
    small.api.remove_container(made["Id"])


def _config_altered(small: Small, name: str) -> None:
    volume = next(one["volume"] for one in _spec(small, name)["mounts"] if one["volume"].startswith("config-"))
    _as_root(small, volume, f"""echo '{{"say": "evil"}}' >/it/{name}.json""")


def _spec(small: Small, name: str) -> Mapping[str, Any]:
    return next(one.spec for one in small.resources if str(one.address) == f"service/{name}")


def _secret_altered(small: Small, _name: str) -> None:
    vault = next(one["volume"] for one in _spec(small, "door")["mounts"] if one["volume"].startswith("secrets-"))
    _as_root(small, vault, "rm /it/api; echo another >/it/api; chmod 0444 /it/api")


def _secret_gone(small: Small, _name: str) -> None:
    vault = next(one["volume"] for one in _spec(small, "door")["mounts"] if one["volume"].startswith("secrets-"))
    _as_root(small, vault, "rm /it/token /it/.token")


def _renamed(small: Small, name: str) -> None:
    small.api.rename(small.container(name), f"{small.agent}-hand-renamed")


def _scaled(small: Small, name: str) -> None:
    """As `docker compose up --scale` does: it knows the labels of the file, and not ours of an apply."""
    later = {"paictl.fingerprint": "", "paictl.instance": "", "com.docker.compose.container-number": "2"}
    _made_anew(later, number=2)(small, name)


@dataclass(frozen=True)
class Case:
    """What somebody does, and the line of the plan that says so, up to where the address stands; ``{name}`` is the service's."""

    by_hand: ByHand
    line: str


_REPLACED = ", which can't be done in place"
_HAND = f"+ service/{{name}} because {{what}} was changed by hand{_REPLACED}"


def _by_hand(what: str) -> str:
    return _HAND.replace("{what}", what)


CASES: Mapping[str, Case] = {
    "memory": Case(_updated(Memory=128 << 20, MemorySwap=256 << 20), _by_hand("memory, memory_swap")),
    "cpus": Case(_updated(NanoCpus=500_000_000), _by_hand("cpus")),
    "cpuset": Case(_updated(CpusetCpus="0"), _by_hand("cpuset")),
    "pids": Case(_updated(PidsLimit=-1), _by_hand("pids")),
    "restart": Case(_updated(RestartPolicy={"Name": "no"}), _by_hand("restart")),
    "joined": Case(_joined, _by_hand("networks")),
    "left": Case(_left, _by_hand("networks")),
    "nameless": Case(_joined_again, _by_hand("alias")),
    "stranger": Case(_stranger, "~ network/to-{name} because strangers was changed by hand"),
    "relabelled": Case(
        _made_anew({"paictl.fingerprint": fingerprint({"some": "other"})}),
        f"+ service/{{name}} because its settings differ from what was applied{_REPLACED}",
    ),
    "unlabelled": Case(
        _made_anew({"paictl.config": "", "paictl.started-with": ""}),
        _by_hand("config_digest"),
    ),
    "privileged": Case(
        _made_anew(host={"Privileged": True, "CapDrop": [], "SecurityOpt": []}),
        _by_hand("cap_drop, privileged, security"),
    ),
    "bared": Case(_made_anew(host={"MaskedPaths": [], "IpcMode": "host"}), _by_hand("bared_paths, ipc_mode, security")),
    "scaled": Case(_scaled, "- service/{name} because it is one more than is asked for"),
    "paused": Case(
        lambda small, name: small.api.pause(small.container(name)), "~ service/{name} because it is not running"
    ),
    "stopped": Case(
        lambda small, name: small.api.stop(small.container(name), timeout=1),
        "~ service/{name} because it is not running",
    ),
    "killed": Case(
        lambda small, name: small.api.kill(small.container(name)), "~ service/{name} because it is not running"
    ),
    "removed": Case(
        lambda small, name: small.api.remove_container(small.container(name), force=True),
        "+ service/{name} because it was there and is gone",
    ),
    "renamed": Case(_renamed, _by_hand("name")),
    "network": Case(_network_anew, f"± network/to-{{name}} because internal was changed by hand{_REPLACED}"),
    "roadless": Case(_network_gone, "+ network/to-{name} because it was there and is gone"),
    "config": Case(_config_altered, _by_hand("config_digest")),
    "secret": Case(_secret_altered, "~ secret/api because content changed"),
    "token": Case(_secret_gone, "+ secret/token because it was there and is gone"),
}


@dataclass
class Story:
    """What came of all cases together."""

    small: Small
    planned: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def story(engine: Reached, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with (
        pytest.MonkeyPatch.context() as patch,
        made_small(engine.api, tmp_path_factory.mktemp("drift"), free_port(), _clean) as small,
    ):
        patch.setenv("DOCKER_HOST", engine.host)
        small.services = {
            name: service(name, config={"say": name}, reaches=() if name in (*_OWN, _HUB) else (f"{_HUB}/http",))
            for name in (*CASES, "untouched", _HUB)
        }
        small.apply()
        made = Story(small, before=_ids(small))
        for name, case in CASES.items():
            case.by_hand(small, name)
        made.planned = small.plan()
        small.apply()
        made.again, made.after = small.plan(), _ids(small)
        yield made


def _ids(small: Small) -> dict[str, str]:
    return {name: one["Id"] for name in (*small.services, "door") for one in small.containers(name)}


def _clean(small: Small) -> None:
    """What was made by hand here; the rest bears the agent's name."""
    for one in small.api.containers(all=True, filters={"label": [f"paictl.test={small.agent}"]}):
        small.api.remove_container(one["Id"], force=True)
    for one in small.api.networks(filters={"label": f"paictl.test={small.agent}"}):
        for member in small.api.inspect_network(one["Id"])["Containers"] or {}:
            small.api.disconnect_container_from_network(member, one["Id"], force=True)
        small.api.remove_network(one["Id"])


@pytest.mark.parametrize("name", CASES)
def test_the_plan_names_what_was_done_by_hand(name: str, story: Story) -> None:
    assert CASES[name].line.format(name=name) in story.planned


def test_the_plan_names_nothing_else(story: Story) -> None:
    mended = {f"service/{name}" for name in CASES} | {f"network/to-{name}" for name in CASES}
    touched = {line.split()[1] for line in story.planned} - mended
    assert touched == {"secret/api", "secret/token", "service/door"}
    assert story.after["untouched"] == story.before["untouched"]


def test_after_an_apply_the_next_plan_is_empty(story: Story) -> None:
    assert story.again == []


@pytest.mark.parametrize("name", CASES)
def test_an_apply_mends_it(name: str, story: Story) -> None:
    [standing] = story.small.containers(name)
    assert standing["State"] == "running"
    assert [*standing["NetworkSettings"]["Networks"]] == [_network(story.small, name)]


def test_what_was_only_stopped_is_not_made_anew(story: Story) -> None:
    for name in ("paused", "stopped", "killed", "scaled"):
        assert story.after[name] == story.before[name]
    for name in ("memory", "privileged", "renamed", "config"):
        assert story.after[name] != story.before[name]


def test_everybody_finds_everybody_by_name_again(story: Story) -> None:
    door = story.small.container("door")
    script = "".join(f"getent hosts {name} >/dev/null || echo {name}\n" for name in CASES)
    assert run(story.small.stack.driver().connection, door, ["sh", "-c", script]).stdout.decode() == ""


@pytest.mark.promise(23)
def test_the_secrets_are_as_they_were_put(story: Story) -> None:
    said = run(story.small.stack.driver().connection, story.small.container("door"), ["cat", "/srv/paictl/secrets/api"])
    assert said.stdout == SECRET


@pytest.mark.promise(13)
def test_what_was_made_by_hand_without_labels_is_refused_by_name(story: Story) -> None:
    small = story.small
    told = small.inspect("door")
    small.api.remove_container(told["Id"], force=True)
    made = small.api.create_container(small.stack.image, ["sleep", "1"], name=small.container("door"))
    try:
        with pytest.raises(Refused, match="service/door already exists and is not paictl's"):
            small.plan()
    finally:
        small.api.remove_container(made["Id"])
    small.apply()
    assert small.plan() == []


@pytest.mark.promise(12)
def test_a_volume_that_is_gone_is_named_and_one_of_other_options_is_not_emptied_unasked(story: Story) -> None:
    small = story.small
    volume = f"{small.agent}_door"
    told = small.api.inspect_volume(volume)
    small.api.remove_container(small.container("door"), force=True)
    small.api.remove_volume(volume)
    assert "+ volume/door because it was there and is gone" in small.plan()
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    small.api.create_volume(volume, driver_opts=options, labels=told["Labels"])
    with pytest.raises(ProtectedData, match="volume/door"):
        small.apply()
    small.apply("volume/door")
    assert small.plan() == []
    assert not small.api.inspect_volume(volume)["Options"]
