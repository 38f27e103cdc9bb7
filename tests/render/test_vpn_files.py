from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from paictl.render import docker, kubernetes, native
from tests.blueprint.test_vpn import compiled
from tests.render import reading

_KEY = "Hk0xwHsrMbMKZSvmHyTFLWnqXlFZ5kbJ0qO0kQLqPXo="
_PEERS = f"peers: {{phone: {{public_key: {_KEY}, address: 10.87.0.2}}}}"
_MANAGED = f"{{endpoint: 'vpn.example.org:51820', {_PEERS}}}"
_MESH = "{manage: external, address: 100.64.0.7}"


def _compose(folder: Path, vpn: str) -> dict[str, Any]:
    (found,) = reading.documents(docker.files(compiled(folder, "docker", vpn))["compose.yaml"])
    return found


def _objects(folder: Path, vpn: str) -> dict[tuple[str, str], dict[str, Any]]:
    texts = kubernetes.documents(compiled(folder, "kubernetes", vpn))
    found = [document for text in texts for document in reading.documents(text)]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def test_docker_publishes_the_vpns_port_to_everybody_and_the_gateways_to_the_machine_alone(tmp_path: Path) -> None:
    services = _compose(tmp_path, _MANAGED)["services"]
    assert services["vpn"]["ports"] == ["0.0.0.0:51820:51820/udp"]
    assert services["gateway"]["ports"] == ["127.0.0.1:8700:8700"]
    # On no network of the rooms, where it would be one more neighbour of the agent.
    assert services["vpn"]["networks"] == ["door"]
    assert services["vpn"]["build"] == {"context": "./vpn"}
    assert services["vpn"]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("driver", ["docker", "kubernetes"])
def test_its_sources_are_among_the_files(tmp_path: Path, driver: str) -> None:
    blueprint = compiled(tmp_path, driver, _MANAGED)
    found = (docker if driver == "docker" else kubernetes).files(blueprint)
    assert {path for path in found if path.startswith("vpn/")} == {f"vpn/{one}" for one in _SOURCES}
    assert "vpn-key" not in {path.rpartition("/")[2] for path in found}


_SOURCES = ("Dockerfile", "go.mod", "go.sum", "main.go")


def test_every_module_of_the_program_is_known_by_its_sum(tmp_path: Path) -> None:
    found = kubernetes.files(compiled(tmp_path, "kubernetes", _MANAGED))
    required = re.findall(r"^\s+(\S+) (v\S+)", found["vpn/go.mod"], re.MULTILINE)
    assert len(required) > 2
    assert all(f"{module} {version}" in found["vpn/go.sum"] for module, version in required)
    assert "GOFLAGS=-mod=readonly" in found["vpn/Dockerfile"]


@pytest.mark.promise(28)
def test_a_mesh_is_all_that_the_gateway_listens_to(tmp_path: Path) -> None:
    assert _compose(tmp_path, _MESH)["services"]["gateway"]["ports"] == ["100.64.0.7:8700:8700"]
    written = native.files(compiled(tmp_path, "native", _MESH))
    (configuration,) = [text for path, text in written.items() if path.endswith("config/gateway/gateway.json")]
    assert json.loads(configuration)["listen"] == "tcp:100.64.0.7:8700"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", {"type": "NodePort"}),
        (", service: {node_port: 30999}", {"type": "NodePort", "node": 30999}),
        (", service: {type: LoadBalancer, class: metallb}", {"type": "LoadBalancer", "class": "metallb"}),
    ],
)
def test_a_cluster_has_one_door_of_udp(tmp_path: Path, said: str, expected: dict[str, Any]) -> None:
    found = _objects(tmp_path, _MANAGED.replace("}}}", f"}}}}{said}}}"))
    spec = found["Service", "vpn"]["spec"]
    (port,) = spec["ports"]
    assert (port["protocol"], port["port"]) == ("UDP", 51820)
    there = {"type": spec["type"], "node": port.get("nodePort"), "class": spec.get("loadBalancerClass")}
    assert {name: value for name, value in there.items() if value} == expected
    assert found["Service", "gateway"]["spec"]["type"] == "ClusterIP"
    assert not [name for kind, name in found if kind in {"Ingress", "HTTPRoute"}]


def test_a_port_that_devices_know_and_nodes_have_is_the_nodes(tmp_path: Path) -> None:
    found = _objects(tmp_path, _MANAGED.replace("51820", "31820"))
    (port,) = found["Service", "vpn"]["spec"]["ports"]
    assert (port["port"], port["nodePort"]) == (31820, 31820)


@pytest.mark.promise(24)
def test_on_a_cluster_the_vpn_reaches_the_gateways_open_port_and_nothing_else(tmp_path: Path) -> None:
    found = _objects(tmp_path, _MANAGED)
    rules = found["NetworkPolicy", "vpn"]["spec"]
    assert rules["ingress"] == [{"ports": [{"protocol": "UDP", "port": 51820}]}]
    (way,) = rules["egress"]
    assert way["ports"] == [{"protocol": "TCP", "port": 8700}]
    assert way["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
    callers = {
        rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: [
            one["port"] for one in rule["ports"]
        ]
        for rule in found["NetworkPolicy", "gateway"]["spec"]["ingress"]
    }
    assert callers == {"agent": [8701], "vpn": [8700]}


def test_a_mesh_on_a_cluster_picks_up_a_service_of_its_own_and_its_pods_alone_are_let_in(tmp_path: Path) -> None:
    service = "service: {type: LoadBalancer, class: tailscale, annotations: {tailscale.com/hostname: atlas}}"
    found = _objects(tmp_path, f"{{manage: external, namespace: tailscale, {service}}}")
    mesh = found["Service", "gateway-mesh"]
    assert mesh["metadata"]["annotations"]["tailscale.com/hostname"] == "atlas"
    assert (mesh["spec"]["type"], mesh["spec"]["loadBalancerClass"]) == ("LoadBalancer", "tailscale")
    assert [one["port"] for one in mesh["spec"]["ports"]] == [8700]
    assert found["Service", "gateway"]["spec"]["type"] == "ClusterIP"
    rules = found["NetworkPolicy", "gateway"]["spec"]["ingress"]
    (let_in,) = [rule for rule in rules if "namespaceSelector" in rule["from"][0]]
    assert let_in["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tailscale"}}}]
    assert let_in["ports"] == [{"protocol": "TCP", "port": 8700}]
    assert ("Deployment", "vpn") not in found
