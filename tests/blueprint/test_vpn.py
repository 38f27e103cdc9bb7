from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.types import Blueprint, wire
from paictl.blueprint.unavailable import unavailable
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
