from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import docker
import pytest

from tests.docker import cis, stock
from tests.docker.conftest import Reached
from tests.waiting import until

pytestmark = pytest.mark.docker

Body = dict[str, Any]
Make = Callable[..., str]

# A container that leaves nothing to be wished for.
HOST: Body = {
    "NetworkMode": "none",
    "ReadonlyRootfs": True,
    "CapDrop": ["ALL"],
    "SecurityOpt": ["no-new-privileges:true"],
    "Memory": 16 << 20,
    "CpuShares": 512,
    "PidsLimit": 16,
    "Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 64}],
    "RestartPolicy": {"Name": "unless-stopped"},
    "Init": True,
}
HEALTHCHECK = {"Test": ["CMD", "true"], "Interval": 3600 * 10**9}


def on(address: str, port: int) -> Body:
    return {"PortBindings": {"80/tcp": [{"HostIp": address, "HostPort": str(port)}]}}


VIOLATIONS: list[tuple[str, Body]] = [
    ("5.2", {"SecurityOpt": ["no-new-privileges:true", "apparmor=unconfined"]}),
    ("5.3", {"SecurityOpt": ["no-new-privileges:true", "label=disable"]}),
    ("5.4", {"CapAdd": ["NET_RAW"]}),
    ("5.4", {"CapDrop": ["NET_RAW"]}),
    ("5.5", {"Privileged": True}),
    ("5.6", {"Binds": ["/etc:/machine:ro"]}),
    ("5.6", {"Binds": ["/usr/share:/machine:ro"]}),
    ("5.6", {"Binds": ["/:/machine:ro"]}),
    ("5.8", on("127.0.0.1", 443)),
    ("5.9", {"PublishAllPorts": True}),
    ("5.10", {"NetworkMode": "host"}),
    ("5.11", {"Memory": 0}),
    ("5.12", {"CpuShares": 0}),
    ("5.12", {"CpuShares": 1024}),
    ("5.13", {"ReadonlyRootfs": False}),
    ("5.14", on("", 18080)),
    ("5.14", on("0.0.0.0", 18080)),
    ("5.15", {"RestartPolicy": {"Name": "always"}}),
    ("5.15", {"RestartPolicy": {"Name": "on-failure"}}),
    ("5.15", {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 6}}),
    ("5.16", {"PidMode": "host"}),
    ("5.17", {"IpcMode": "host"}),
    ("5.18", {"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "r"}]}),
    ("5.19", {"Ulimits": []}),
    ("5.20", {"Binds": ["/srv:/machine:ro,rshared"]}),
    ("5.21", {"UTSMode": "host"}),
    ("5.22", {"SecurityOpt": ["no-new-privileges:true", "seccomp=unconfined"]}),
    ("5.25", {"CgroupParent": "/elsewhere"}),
    ("5.26", {"SecurityOpt": ["label=type:container_t"]}),
    ("5.29", {"PidsLimit": 0}),
    ("5.30", {"NetworkMode": "bridge"}),
    ("5.31", {"UsernsMode": "host"}),
    ("5.32", {"Binds": ["/run/docker.sock:/machine.sock:ro"]}),
]


@pytest.fixture
def make(engine: Reached) -> Iterator[Make]:
    """Makes a container, not started, and takes it away again."""
    made: list[str] = []
    image = stock.tiny(engine.api)

    def _make(host: Body | None = None, **config: Any) -> str:
        body: Body = {
            "Image": image,
            "User": "65532:65532",
            "Cmd": ["sleep", "600"],
            "Healthcheck": HEALTHCHECK,
            "Labels": {"paictl.test": "cis"},
            "HostConfig": deepcopy(HOST) | (host or {}),
        }
        name = f"paictl-test-{uuid.uuid4().hex[:12]}"
        told: Body = engine.api.create_container_from_config(body | config, name)  # type: ignore[no-untyped-call]  # so published
        made.append(str(told["Id"]))
        return made[-1]

    yield _make
    for container in made:
        engine.api.remove_container(container, v=True, force=True)


def numbers(api: docker.APIClient, container: str) -> list[str]:
    return [warning.partition(" ")[0] for warning in cis.warnings(cis.look(api, [container]))]


def test_every_item_of_the_section_is_looked_at() -> None:
    assert list(cis.ITEMS) == [f"5.{number}" for number in range(1, 33)]


def test_a_container_with_every_bound_has_no_warning_before_and_while_it_runs(engine: Reached, make: Make) -> None:
    container = make()
    assert numbers(engine.api, container) == []
    engine.api.start(container)
    assert numbers(engine.api, container) == []


@pytest.mark.parametrize(
    ("number", "host"), VIOLATIONS, ids=[f"{number}-{next(iter(host))}" for number, host in VIOLATIONS]
)
def test_a_container_that_lost_one_bound_has_that_warning_and_no_other(
    number: str, host: Body, engine: Reached, make: Make
) -> None:
    assert numbers(engine.api, make(host)) == [number]


def test_a_container_without_a_health_check_is_found(engine: Reached, make: Make) -> None:
    assert numbers(engine.api, make(Healthcheck={"Test": ["NONE"]})) == ["5.27"]
    assert numbers(engine.api, make(Healthcheck=None)) == ["5.27"]


def test_a_container_whose_image_has_been_replaced_under_its_name_is_found(engine: Reached, make: Make) -> None:
    name = f"paictl-test/cis-{uuid.uuid4().hex[:12]}"
    first = make()
    try:
        engine.api.commit(first, name, "1")
        container = make(Image=f"{name}:1")
        assert numbers(engine.api, container) == []
        engine.api.commit(first, name, "1", message="another one")
        assert numbers(engine.api, container) == ["5.28"]
    finally:
        for image in engine.api.images(name, all=True):
            engine.api.remove_image(image["Id"], force=True)


def test_a_secure_shell_server_in_a_container_is_found_by_its_name(engine: Reached, make: Make) -> None:
    script = "printf '#!/bin/sh\\nsleep 600\\n' >/tmp/sshd; chmod +x /tmp/sshd; exec /tmp/sshd"
    container = make({"Tmpfs": {"/tmp": "mode=1777,exec"}}, Cmd=["sh", "-c", script])
    engine.api.start(container)
    until(lambda: numbers(engine.api, container) == ["5.7"], "its program has that name")


def test_what_was_executed_as_root_or_privileged_is_found(engine: Reached, make: Make) -> None:
    for number, how in (("5.24", {"user": "0"}), ("5.23", {"privileged": True})):
        container = make()
        engine.api.start(container)
        engine.api.exec_create(container, ["true"])
        assert numbers(engine.api, container) == []
        engine.api.exec_create(container, ["true"], **how)
        assert numbers(engine.api, container) == [number]


def test_an_engine_in_a_swarm_or_without_its_profiles_is_found(engine: Reached, make: Make) -> None:
    container = make()
    engine.api.start(container)
    [seen] = cis.look(engine.api, [container])
    other: dict[str, Body] = {
        "5.1": {"Swarm": {"LocalNodeState": "active"}},
        "5.2": {"SecurityOptions": ["name=apparmor", "name=seccomp,profile=default"]},
        "5.22": {"SecurityOptions": ["name=cgroupns"]},
    }
    for number, info in other.items():
        unconfined = replace(seen, info={**seen.info, **info}, inspect={**seen.inspect, "AppArmorProfile": ""})
        assert [warning.partition(" ")[0] for warning in cis.warnings([unconfined])] == [number]
