"""What a blueprint comes to on hosts: pieces in an order that can be carried out, complete, and without a secret's value."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from paictl.blueprint.types import Blueprint, Host
from paictl.drivers.ansible.kinds import host_of, work_of
from paictl.drivers.ansible.resources import resources
from paictl.engine.fingerprint import fingerprint
from paictl.engine.model import Address, Resource
from tests.render.blueprints import QUICKSTART, WITH_API_MODEL

_TWO = replace(QUICKSTART, hosts=(Host("desk", "192.0.2.1"), Host("pi", "192.0.2.2")))

every_blueprint = pytest.mark.parametrize(
    "blueprint", [QUICKSTART, WITH_API_MODEL, _TWO], ids=["here", "api-model", "two-hosts"]
)


def _by_kind(blueprint: Blueprint) -> dict[str, list[Resource]]:
    found: dict[str, list[Resource]] = {}
    for one in resources(blueprint):
        found.setdefault(one.address.kind, []).append(one)
    return found


@every_blueprint
def test_each_stands_on_what_came_before_it_and_on_nothing_else(blueprint: Blueprint) -> None:
    known: set[Address] = set()
    for one in resources(blueprint):
        assert set(one.depends_on) <= known, one.address
        assert one.address not in known
        known.add(one.address)


@every_blueprint
def test_each_is_json_that_tells_its_agent_and_its_host_and_nothing_of_it_drifts(blueprint: Blueprint) -> None:
    for one in resources(blueprint):
        assert json.loads(json.dumps(one.spec)) == one.spec
        assert (one.spec["agent"], one.spec["drift"]) == (blueprint.agent, {})
        assert host_of(one.spec) == one.place
        assert one.replace_on == {"host"}


@every_blueprint
def test_each_knows_which_file_of_which_role_makes_it(blueprint: Blueprint) -> None:
    for one in resources(blueprint):
        work = work_of(one)
        assert work.manages.startswith(work.role)
        assert not any("{{" in json.dumps(value) for value in work.variables.values())


def test_a_service_needs_its_secrets_its_data_its_models_and_the_services_before_it() -> None:
    found = {one.address.name: one for one in _by_kind(QUICKSTART)["service"]}
    needs = {name: {str(need) for need in one.depends_on} for name, one in found.items()}
    for service in QUICKSTART.services:
        wanted = {f"secret/{name}" for name in service.secrets}
        wanted |= {f"volume/{volume.name}" for volume in service.volumes}
        wanted |= {f"service/{name}" for name in service.needs}
        assert wanted <= needs[service.name]
        assert any(need.startswith("runtime/") for need in needs[service.name])
        assert any(need.startswith("weights/") for need in needs[service.name]) == bool(service.weights)
        assert found[service.name].downtime
        assert found[service.name].probe is not None


def test_whole_roles_stand_on_every_host_and_services_where_they_run() -> None:
    found = _by_kind(_TWO)
    for kind in ("base", "hardening"):
        assert [one.address.name for one in found[kind]] == ["desk", "pi"]
    assert {one.place for one in found["service"]} == {service.host or "desk" for service in _TWO.services}
    base = found["base"][1]
    changed = {**base.spec, "content": "another role"}
    assert fingerprint(changed) != fingerprint(base.spec)


def test_what_the_agent_is_outlives_it_and_what_can_be_fetched_does_not() -> None:
    found = _by_kind(QUICKSTART)
    assert all(one.holds_data == (one.spec["generated"] is True) for one in found["secret"])
    assert any(one.holds_data for one in found["volume"])
    for one in found.get("weights", []):
        assert not one.holds_data
        assert one.effect is not None
        assert one.effect.download_bytes > 0


def test_another_runtime_leaves_models_data_and_secrets_alone() -> None:
    newer = replace(QUICKSTART, runtime=replace(QUICKSTART.runtime, digest="f" * 64))
    before = {str(one.address): fingerprint(one.spec) for one in resources(QUICKSTART)}
    after = {str(one.address): fingerprint(one.spec) for one in resources(newer)}
    changed = {address.partition("/")[0] for address, label in after.items() if before.get(address) != label}
    assert changed == {"runtime", "service"}
