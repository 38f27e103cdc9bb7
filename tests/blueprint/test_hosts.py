from __future__ import annotations

from pathlib import Path

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.types import Blueprint, Link
from paictl.manifest.load import load
from tests.blueprint.manifests import RESOLVED

_PI, _DESK = "pi: {address: pi.local}", "desk: {address: 10.0.0.2, runs: [chat], link: 9000}"


def _compiled(folder: Path, *hosts: str, driver: str = "ansible") -> Blueprint:
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
  targets: {{here: {{driver: {driver}, hosts: {{{", ".join(hosts)}}}}}}}
""",
        encoding="utf-8",
    )
    return compile_blueprint(load([path], env={}), RESOLVED)


def _where(blueprint: Blueprint) -> dict[str, str]:
    return {service.name: service.host for service in blueprint.services}


@pytest.mark.parametrize("hosts", [(_PI, _DESK), (_DESK, _PI)])
def test_a_host_runs_the_models_that_it_is_told_to_and_the_first_one_that_is_not_everything_else(
    hosts: tuple[str, ...], tmp_path: Path
) -> None:
    blueprint = _compiled(tmp_path, *hosts, "attic: {address: attic.local}")
    assert _where(blueprint) == {"model-chat": "desk", "model-embed": "pi", "gateway": "pi", "agent": "pi"}


def test_one_host_runs_everything_whatever_it_is_told(tmp_path: Path) -> None:
    blueprint = _compiled(tmp_path, _DESK)
    assert {*_where(blueprint).values()} == {"desk"}
    assert blueprint.links == ()


def test_services_of_other_drivers_have_no_host(tmp_path: Path) -> None:
    assert {*_where(_compiled(tmp_path, _PI, _DESK, driver="fake")).values()} == {""}


def test_what_one_host_asks_of_another_is_a_link_to_the_port_that_the_manifest_says(tmp_path: Path) -> None:
    blueprint = _compiled(tmp_path, _PI, _DESK)
    assert blueprint.links == (Link("pi", "desk", "model-chat", "http"),)
    assert {host.name: host.link for host in blueprint.hosts} == {"pi": 8790, "desk": 9000}
