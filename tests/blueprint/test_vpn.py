from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.types import Blueprint, wire
from paictl.blueprint.unavailable import unavailable
from paictl.blueprint.vpn import KEY, endpoint
from paictl.blueprint.vpn_image import image
from paictl.manifest.load import Manifest, load
from tests.blueprint.manifests import RESOLVED

_PHONE = "{public_key: Hk0xwHsrMbMKZSvmHyTFLWnqXlFZ5kbJ0qO0kQLqPXo=, address: 10.87.0.2}"
_MANAGED = f"{{endpoint: 'vpn.example.org:51820', peers: {{phone: {_PHONE}}}}}"


def told(folder: Path, driver: str, vpn: str) -> Manifest:
    path = folder / "agent.yaml"
    path.write_text(
        f"""\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {{name: atlas, owner: alice}}
spec:
  models: {{chat: {{task: chat, source: pypi://a@1/chat.gguf}}}}
  targets: {{here: {{driver: {driver}, vpn: {vpn}}}}}
""",
        encoding="utf-8",
    )
    return load([path], env={})


def compiled(folder: Path, driver: str, vpn: str) -> Blueprint:
    return compile_blueprint(told(folder, driver, vpn), replace(RESOLVED, containers=driver != "native"))


def test_a_managed_vpn_is_one_more_service_that_reaches_the_gateways_open_door_and_nothing_else(tmp_path: Path) -> None:
    blueprint = compiled(tmp_path, "docker", _MANAGED)
    vpn = blueprint.service("vpn")
    assert (vpn.reaches, vpn.egress, vpn.volumes, vpn.secrets) == (("gateway/http",), (), (), ("vpn-key",))
    assert [(one.port, one.udp, one.public) for one in vpn.endpoints] == [(51820, True, False)]
    assert vpn.upstream is not None
    assert vpn.upstream.reference == image()
    assert vpn.origin is not None
    assert vpn.origin.line == 6
    # People's own client still talks to the gateway, which nobody else reaches.
    assert blueprint.public[0].name == "gateway"
    assert not blueprint.public[1].open
    assert [one.name for one in blueprint.services if "vpn" in one.neighbours] == []


@pytest.mark.promise(23)
def test_the_private_key_is_made_on_the_target_and_named_in_the_configuration_only(tmp_path: Path) -> None:
    blueprint = compiled(tmp_path, "kubernetes", _MANAGED)
    (key,) = [one for one in blueprint.secrets if one.name == "vpn-key"]
    assert key.generated
    configuration = wire(blueprint.service("vpn").config.content, lambda service, _: f"tcp:{service}:8700")
    assert configuration == {
        "listen": 51820,
        "address": "10.87.0.1",
        "port": 8700,
        "target": "tcp:gateway:8700",
        "key_file": "/srv/paictl/secrets/vpn-key",
        "peers": {"phone": {"public_key": "Hk0xwHsrMbMKZSvmHyTFLWnqXlFZ5kbJ0qO0kQLqPXo=", "address": "10.87.0.2"}},
    }


@pytest.mark.parametrize("driver", ["native", "docker"])
def test_where_a_mesh_exists_the_gateway_listens_at_its_address_alone(tmp_path: Path, driver: str) -> None:
    blueprint = compiled(tmp_path, driver, "{manage: external, address: 100.64.0.7, host: atlas.tail1234.ts.net}")
    assert [service.name for service in blueprint.services if service.role == "vpn"] == []
    assert blueprint.public[1].authority == "100.64.0.7:8700"
    content = blueprint.service("gateway").config.content
    assert isinstance(content, dict)
    assert content["names"] == ["atlas.tail1234.ts.net"]


def test_a_machine_set_up_over_ssh_has_its_kernels_wireguard_and_no_service(tmp_path: Path) -> None:
    manifest = told(tmp_path, "ansible, hosts: {a: {address: 192.0.2.1}}", _MANAGED)
    blueprint = compile_blueprint(manifest, replace(RESOLVED, containers=False))
    assert "vpn" not in [service.name for service in blueprint.services]


def test_without_containers_there_is_no_vpn_of_paictls_own_and_that_is_said(tmp_path: Path) -> None:
    (found,) = [one for one in unavailable(told(tmp_path, "native", _MANAGED), "native") if "VPN" in one.summary]
    assert found.span is not None
    assert found.span.line == 6
    assert "manage: external" in found.help
    assert not unavailable(told(tmp_path, "docker", _MANAGED), "docker")


def _on_hosts(folder: Path, vpn: str, agent: str = "atlas") -> Manifest:
    path = folder / "agent.yaml"
    hosts = "{desk: {address: 10.0.0.2, runs: [chat]}, pi: {address: pi.example.org}}"
    path.write_text(
        f"""\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {{name: {agent}, owner: alice}}
spec:
  models: {{chat: {{task: chat, source: pypi://a@1/chat.gguf}}}}
  targets: {{here: {{driver: ansible, hosts: {hosts}, vpn: {vpn}}}}}
""",
        encoding="utf-8",
    )
    return load([path], env={})


def test_on_hosts_no_service_is_the_vpn_and_its_key_is_one_of_the_agents(tmp_path: Path) -> None:
    blueprint = compile_blueprint(_on_hosts(tmp_path, "{}"), replace(RESOLVED, containers=False))
    assert "vpn" not in {one.name for one in blueprint.services}
    assert [one.generated for one in blueprint.secrets if one.name == KEY] == [True]
    assert blueprint.vpn is not None
    assert blueprint.vpn.tunnel is not None
    assert (blueprint.vpn.tunnel.interface, blueprint.vpn.tunnel.port) == ("vpn-atlas", 51820)
    # It ends beside the gateway, which is called by that address then.
    content = blueprint.service("gateway").config.content
    assert isinstance(content, Mapping)
    assert content["names"] == ["10.87.0.1"]
    assert not blueprint.public[1].open


@pytest.mark.parametrize(
    ("vpn", "found"), [("{}", "pi.example.org:51820"), ("{endpoint: 'vpn.example.org:7'}", "vpn.example.org:7")]
)
def test_devices_find_the_vpn_of_a_host_at_the_gateways_own_address_unless_the_manifest_knows_better(
    vpn: str, found: str, tmp_path: Path
) -> None:
    assert endpoint(_on_hosts(tmp_path, vpn)) == found


def test_the_name_of_an_interface_is_never_longer_than_linux_takes_it(tmp_path: Path) -> None:
    doors = [compile_blueprint(_on_hosts(tmp_path, "{}", f"a-long-name-of-an-{end}"), RESOLVED).vpn for end in "ab"]
    interfaces = {one.tunnel.interface for one in doors if one is not None and one.tunnel is not None}
    assert len(interfaces) == 2
    assert max(map(len, interfaces)) <= 15
