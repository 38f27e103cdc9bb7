from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.types import Blueprint
from paictl.drivers.ansible.resources import resources
from paictl.manifest.load import load
from paictl.render.roles import hosts_of, role_vars
from tests.blueprint.manifests import RESOLVED

_PHONE = "Hk0xwHsrMbMKZSvmHyTFLWnqXlFZ5kbJ0qO0kQLqPXo="
_PI, _DESK = "pi: {address: 10.0.0.1}", "desk: {address: 10.0.0.2, runs: [chat]}"
_NAMED = "pi: {address: pi.local}"
_VPN = f"vpn: {{peers: {{phone: {{public_key: {_PHONE}, address: 10.87.0.2}}}}}}"


def _compiled(folder: Path, *hosts: str, more: str = "") -> Blueprint:
    path = folder / "agent.yaml"
    path.write_text(
        f"""\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {{name: atlas, owner: alice}}
spec:
  models:
    chat: {{task: chat, source: pypi://a@1/chat.gguf}}
    embed: {{task: embed, source: pypi://b@1/model.onnx}}
  memory: {{embed: embed}}
  targets: {{home: {{driver: ansible, hosts: {{{", ".join(hosts)}}}{", " + more if more else ""}}}}}
""",
        encoding="utf-8",
    )
    return compile_blueprint(load([path], env={}), RESOLVED)


def _told(blueprint: Blueprint, role: str, host: str) -> dict[str, Any]:
    return dict(role_vars(blueprint, role, host))


def test_each_end_of_a_link_is_told_the_same_from_its_side(tmp_path: Path) -> None:
    blueprint = _compiled(tmp_path, _PI, _DESK)
    pi, desk = _told(blueprint, "link", "pi"), _told(blueprint, "link", "desk")
    assert pi["link_asks"] == {"model-chat/http": {"host": "desk", "address": "10.0.0.2", "port": 8790}}
    assert (pi["link_gives"], pi["link_listen"], pi["link_allowed"]) == ({}, 0, ["10.0.0.2"])
    assert desk["link_gives"] == {"pi": ["model-chat/http"]}
    assert (desk["link_asks"], desk["link_listen"], desk["link_allowed"]) == ({}, 8790, ["10.0.0.1"])


def test_a_host_that_has_nothing_to_do_with_others_has_no_link(tmp_path: Path) -> None:
    blueprint = _compiled(tmp_path, _PI, _DESK, "attic: {address: 10.0.0.3}")
    assert hosts_of(blueprint, "link") == ("pi", "desk")
    assert hosts_of(_compiled(tmp_path, _PI), "link") == ()


@pytest.mark.parametrize(("pi", "sources"), [(_PI, ["10.0.0.1"]), (_NAMED, "10.0.0.0/8")])
def test_the_links_port_is_open_to_the_host_that_asks_and_where_that_has_a_name_to_what_is_near(
    pi: str, sources: list[str] | str, tmp_path: Path
) -> None:
    blueprint = _compiled(tmp_path, pi, _DESK)
    [way] = _told(blueprint, "hardening", "desk")["hardening_open"]
    assert way["port"] == 8790
    assert way["sources"] == sources if isinstance(sources, list) else sources in way["sources"]
    assert _told(blueprint, "hardening", "pi")["hardening_open"] == []


def test_the_gateway_waits_for_the_link_and_the_link_for_both_runtimes(tmp_path: Path) -> None:
    found = {str(one.address): one for one in resources(_compiled(tmp_path, _PI, _DESK))}
    named = {key.rpartition("ansible/")[2]: one for key, one in found.items()}
    needs = {key: {f"{each.kind}/{each.name}" for each in one.depends_on} for key, one in named.items()}
    assert "link/pi" in needs["service/gateway"]
    assert "link/desk" not in needs["service/model-chat"]
    runtimes = {key for key in needs if key.startswith("runtime/")}
    assert len(runtimes) == 2
    assert runtimes <= needs["link/pi"]
    assert named["service/model-chat"].place == "desk"
    assert {one.place for one in named.values()} == {"pi", "desk"}


def test_a_vpn_on_a_host_is_told_the_gateways_port_and_the_devices_and_nothing_of_its_key(tmp_path: Path) -> None:
    blueprint = _compiled(tmp_path, _PI, _DESK, more=_VPN)
    assert hosts_of(blueprint, "vpn") == ("pi",)
    assert _told(blueprint, "vpn", "pi") == {
        "vpn_agent": "atlas",
        "vpn_interface": "vpn-atlas",
        "vpn_port": 51820,
        "vpn_address": "10.87.0.1",
        "vpn_network": "10.87.0.0/24",
        "vpn_gateway_port": 8700,
        "vpn_peers": [{"name": "phone", "public_key": _PHONE, "address": "10.87.0.2"}],
    }
    assert _told(blueprint, "hardening", "pi")["hardening_open"] == [
        {"port": 51820, "protocol": "udp"},
        {"port": 8700, "interface": "vpn-atlas"},
    ]


def test_the_vpns_key_is_made_on_the_gateways_host_and_outlives_the_vpn(tmp_path: Path) -> None:
    [key] = [
        one for one in resources(_compiled(tmp_path, _PI, _DESK, more=_VPN)) if one.address.name.startswith("vpn-key")
    ]
    assert (key.address.kind, key.place, key.holds_data) == ("secret", "pi", True)
    assert "vpn-key" in str(_told(_compiled(tmp_path, _PI, more=_VPN), "runtime", "pi")["runtime_secrets"])
