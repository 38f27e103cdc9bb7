"""What leads in from outside, and where declared secrets come from: never more than the manifest says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from paictl.blueprint.types import Blueprint
from tests.render.blueprints import EVERYTHING, QUICKSTART, ROUTED
from tests.render.reading import objects

Manifest = dict[str, Any]


def only(blueprint: Blueprint, kind: str, name: str = "gateway") -> Manifest:
    [one] = [one for one in objects(blueprint) if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return one


def kinds(blueprint: Blueprint) -> set[str]:
    return {one["kind"] for one in objects(blueprint)}


def callers(blueprint: Blueprint, name: str) -> list[Manifest]:
    """The rules by which somebody else than pods of this agent may call a service."""
    rules: list[Manifest] = only(blueprint, "NetworkPolicy", name)["spec"].get("ingress", [])
    return [rule for rule in rules if set(rule.get("from", [{}])[0]) != {"podSelector"}]


def test_without_a_word_about_it_nothing_leads_in() -> None:
    assert not {"Ingress", "HTTPRoute"} & kinds(QUICKSTART)
    services = [one["spec"] for one in objects(QUICKSTART) if one["kind"] == "Service"]
    assert {one.get("type", "ClusterIP") for one in services} == {"ClusterIP"}
    assert [name for name in ("gateway", "agent", "model-chat", "model-embed") if callers(QUICKSTART, name)] == []


def test_an_ingress_is_over_tls_and_leads_to_the_door_alone() -> None:
    ingress = only(EVERYTHING, "Ingress")
    assert "HTTPRoute" not in kinds(EVERYTHING)
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["tls"] == [{"hosts": ["atlas.example.org"], "secretName": "atlas-tls"}]
    assert ingress["metadata"]["annotations"]["cert-manager.io/cluster-issuer"] == "letsencrypt"
    [path] = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"] == {"service": {"name": "gateway", "port": {"name": "http"}}}


def test_a_route_belongs_to_the_listener_that_ends_tls() -> None:
    route = only(ROUTED, "HTTPRoute")["spec"]
    assert "Ingress" not in kinds(ROUTED)
    [parent] = route["parentRefs"]
    assert (parent["namespace"], parent["name"], parent["sectionName"]) == ("infra", "public", "web")
    assert route["hostnames"] == ["atlas.example.org"]
    [backend] = route["rules"][0]["backendRefs"]
    assert (backend["name"], backend["port"]) == ("gateway", 8700)


def test_the_controllers_pods_may_call_the_door_and_nothing_else() -> None:
    [rule] = callers(EVERYTHING, "gateway")
    assert rule == {
        "from": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "ingress-nginx"}},
            },
            {"ipBlock": {"cidr": "10.9.0.0/16"}},
        ],
        "ports": [{"protocol": "TCP", "port": 8700}],
    }
    others = [service.name for service in EVERYTHING.services if service.name != "gateway"]
    assert [name for name in others if callers(EVERYTHING, name)] == []


def test_a_mesh_gets_the_port_for_people_and_no_other() -> None:
    mesh = only(ROUTED, "Service", "gateway-mesh")
    assert [port["port"] for port in mesh["spec"]["ports"]] == [8700]
    assert mesh["spec"]["loadBalancerClass"] == "tailscale"
    assert only(ROUTED, "Service")["spec"]["type"] == "ClusterIP"
    named = [str(rule) for rule in callers(ROUTED, "gateway") if "tailscale" in str(rule)]
    assert len(named) == 1


def test_a_gateway_that_is_bound_to_more_than_loopback_is_open_to_whoever_has_a_token() -> None:
    door = QUICKSTART.service("gateway")
    wide = replace(door, endpoints=(replace(door.endpoints[0], bind="0.0.0.0"), *door.endpoints[1:]))
    opened = replace(QUICKSTART, services=tuple(wide if one is door else one for one in QUICKSTART.services))
    assert callers(opened, "gateway") == [{"ports": [{"protocol": "TCP", "port": 8700}]}]


def test_declared_secrets_come_from_the_store_and_generated_ones_do_not() -> None:
    external = only(EVERYTHING, "ExternalSecret", "anthropic")["spec"]
    assert external["secretStoreRef"] == {"kind": "ClusterSecretStore", "name": "vault"}
    assert external["target"]["name"] == "anthropic"
    [entry] = external["data"]
    assert entry["secretKey"] == "value"
    assert (entry["remoteRef"]["key"], entry["remoteRef"]["property"]) == ("agents/atlas", "anthropic")
    assert [one["metadata"]["name"] for one in objects(EVERYTHING) if one["kind"] == "ExternalSecret"] == ["anthropic"]


@pytest.mark.parametrize("blueprint", [EVERYTHING, ROUTED], ids=["ingress", "gateway"])
def test_an_entry_without_a_property_is_the_whole_entry(blueprint: Blueprint) -> None:
    secrets = tuple(replace(one, remote=("anthropic", "")) if one.brought else one for one in blueprint.secrets)
    external = only(replace(blueprint, secrets=secrets), "ExternalSecret", "anthropic")
    assert "property" not in external["spec"]["data"][0]["remoteRef"]
