from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.types import Blueprint
from paictl.manifest.load import load
from paictl.render import kubernetes
from tests.blueprint.manifests import RESOLVED
from tests.render.reading import objects


def _compiled(folder: Path, driver: str, cluster: str = "{}") -> Blueprint:
    path = folder / "agent.yaml"
    more = f", cluster: {cluster}" if driver == "kubernetes" else ""
    path.write_text(
        f"""\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {{name: atlas, owner: alice}}
spec:
  models: {{chat: {{task: chat, provider: anthropic, model: m, secret: api}}}}
  secrets: {{api: {{from: kubernetes, name: keys, key: anthropic, hosts: [api.anthropic.com]}}}}
  targets: {{here: {{driver: {driver}{more}}}}}
""",
        encoding="utf-8",
    )
    return compile_blueprint(load([path], env={}), replace(RESOLVED, containers=driver != "native"))


def _mounted(blueprint: Blueprint) -> dict[str, tuple[str, str]]:
    """File below secrets/ -> the Secret and the key that it comes from, in the gateway's pod."""
    (gateway,) = (
        one
        for one in objects(blueprint)
        if one["kind"] in {"Deployment", "StatefulSet"} and one["metadata"]["name"] == "gateway"
    )
    volumes = gateway["spec"]["template"]["spec"]["volumes"]
    (sources,) = (one["projected"]["sources"] for one in volumes if one["name"] == "secrets")
    return {item["path"]: (one["secret"]["name"], item["key"]) for one in sources for item in one["secret"]["items"]}


def test_a_secret_that_the_cluster_has_is_read_there_and_by_nobody_else(tmp_path: Path) -> None:
    blueprint = _compiled(tmp_path, "kubernetes")
    assert _mounted(blueprint)["api"] == ("keys", "anthropic")
    assert _mounted(blueprint)["gateway-token"] == ("gateway-token", "value")
    (secret,) = (one for one in blueprint.secrets if one.name == "api")
    assert secret.brought
    files = kubernetes.files(blueprint)
    assert "name: keys" not in files["examples/secrets.yaml"]
    assert not any(one["kind"] == "ExternalSecret" for one in objects(blueprint))


def test_a_store_of_secrets_goes_before_them(tmp_path: Path) -> None:
    blueprint = _compiled(tmp_path, "kubernetes", "{external_secrets: {store: vault}}")
    assert _mounted(blueprint)["api"] == ("api", "value")
    assert [one["metadata"]["name"] for one in objects(blueprint) if one["kind"] == "ExternalSecret"] == ["api"]


@pytest.mark.parametrize("driver", ["native", "docker"])
def test_where_there_is_no_cluster_it_is_not_taken_for_brought(tmp_path: Path, driver: str) -> None:
    (secret,) = (one for one in _compiled(tmp_path, driver).secrets if one.name == "api")
    assert not secret.brought
