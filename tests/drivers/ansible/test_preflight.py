"""What is in the way on hosts is told before anything changes, all of it at once. Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from paictl.blueprint.types import Blueprint, Host
from paictl.drivers.ansible.preflight import check, findings
from paictl.engine.model import Address, Observation, Observed
from paictl.errors import Refused
from tests.render.blueprints import QUICKSTART

GIGABYTE = 1 << 30
DEBIAN = {"id": "debian", "id_like": "", "version_id": "12", "pretty_name": "Debian GNU/Linux 12 (bookworm)"}
FIT = {
    "boot": "b1",
    "arch": "aarch64",
    "memory": 16 * GIGABYTE,
    "disk_free": 64 * GIGABYTE,
    "python": "3.11.2",
    "os": DEBIAN,
    "systemd": True,
    "listening": [22],
}
NOTHING = Observation(())
PORT = QUICKSTART.public[1].port


def on_hosts(*names: str) -> Blueprint:
    hosts = tuple(Host(name, f"{name}.local") for name in names)
    services = tuple(replace(service, host=names[0]) for service in QUICKSTART.services)
    return replace(QUICKSTART, hosts=hosts, services=services)


def told(observation: Observation = NOTHING, /, **facts: object) -> list[str]:
    return [summary for summary, _ in findings(on_hosts("pi5"), observation, {"pi5": FIT | facts})]


def observed(kind: str, name: str, spec: Mapping[str, Any]) -> Observed:
    return Observed(Address("here", "ansible", kind, name), "mine", spec, place="pi5")


def test_nothing_is_in_the_way_on_a_host_that_fits() -> None:
    assert told() == []
    check(on_hosts("pi5"), NOTHING, {"pi5": FIT})


@pytest.mark.parametrize(
    ("facts", "summary"),
    [
        ({"os": DEBIAN | {"version_id": "11", "pretty_name": "Debian GNU/Linux 11"}}, "pi5: Debian GNU/Linux 11 is too old"),
        ({"os": {"id": "fedora", "pretty_name": "Fedora 42"}}, "pi5: it runs Fedora 42"),
        ({"os": {}}, "pi5: it runs an unknown system"),
        ({"os": {"id": "ubuntu", "version_id": "22.04", "pretty_name": "Ubuntu 22.04"}}, "pi5: Ubuntu 22.04 is too old"),
        ({"python": "3.10.12"}, "pi5: its Python is 3.10.12"),
        ({"systemd": False}, "pi5: systemd does not run it"),
        ({"arch": "armv7l"}, "pi5: its processor is armv7l"),
        ({"listening": [22, PORT]}, f"pi5: port {PORT} is taken"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(facts: Mapping[str, object], summary: str) -> None:
    assert told(NOTHING, **facts) == [summary]


@pytest.mark.parametrize(
    "system",
    [
        {"id": "debian", "version_id": "13", "pretty_name": "Debian GNU/Linux 13 (trixie)"},
        {"id": "raspbian", "id_like": "debian", "version_id": "12", "pretty_name": "Raspbian 12"},
        {"id": "ubuntu", "id_like": "debian", "version_id": "24.04", "pretty_name": "Ubuntu 24.04"},
        {"id": "linuxmint", "id_like": "ubuntu debian", "version_id": "22", "pretty_name": "Linux Mint 22"},
    ],
    ids=lambda system: system["id"],
)
def test_debian_and_what_comes_of_it_fits(system: Mapping[str, str]) -> None:
    assert told(os=system) == []


def test_memory_and_disk_are_counted_for_what_runs_there() -> None:
    needed = sum(service.limits.memory for service in QUICKSTART.services)
    assert needed
    assert told(memory=needed) == []
    (short,) = told(memory=needed - 1)
    assert short.startswith("pi5: its services need ")
    files = sum(one.size for one in QUICKSTART.weights)
    (full,) = told(disk_free=files)
    assert "are needed on its disk" in full
    standing = [observed("weights", "chat", {"files": [{"sha256": one.sha256} for one in QUICKSTART.weights]})]
    standing.append(observed("runtime", "b2c8ad66e24f", {}))
    assert told(Observation(tuple(standing)), disk_free=0) == []


def test_the_port_that_our_own_gateway_has_is_not_taken() -> None:
    own = observed("service", "gateway", {"check": {"address": f"127.0.0.1:{PORT}", "path": "/healthz"}})
    assert told(Observation((own,)), listening=[22, PORT]) == []
    other = observed("service", "gateway", {"check": {"address": "127.0.0.1:9700", "path": "/healthz"}})
    assert told(Observation((other,)), listening=[22, 9700, PORT]) == [f"pi5: port {PORT} is taken"]


def test_two_names_for_one_machine_are_told() -> None:
    machines = {"pi5": FIT, "pi4": FIT | {"boot": "b2"}, "again": FIT}
    found = findings(on_hosts("pi5", "pi4", "again"), NOTHING, machines)
    assert [summary for summary, _ in found] == ["pi5 and again are one machine"]


def test_of_a_host_that_is_away_nothing_is_said() -> None:
    assert findings(on_hosts("pi5", "pi4"), NOTHING, {"pi4": FIT | {"boot": "b2"}}) == []


def test_everything_is_told_at_once_each_with_what_to_do() -> None:
    with pytest.raises(Refused, match="3 things are in the way") as raised:
        check(on_hosts("pi5"), NOTHING, {"pi5": FIT | {"arch": "riscv64", "python": "3.9.2", "systemd": False}})
    assert all(one.help for one in raised.value.diagnostics)
    with pytest.raises(Refused, match="its processor is riscv64"):
        check(on_hosts("pi5"), NOTHING, {"pi5": FIT | {"arch": "riscv64"}})
