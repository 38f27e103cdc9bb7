from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from paictl.blueprint.compile import compile_blueprint
from paictl.blueprint.places import Cards, Cluster, Door, SecretStore, Toleration
from paictl.blueprint.types import Blueprint
from paictl.manifest.load import load
from tests.blueprint.manifests import RESOLVED

_EVERYTHING = """\
apiVersion: pai/v1alpha1
kind: Agent
metadata: {name: atlas, owner: alice}
spec:
  targets:
    cloud:
      driver: kubernetes
      cluster:
        ingress:
          kind: ingress
          class: nginx
          host: atlas.example.org
          tls: atlas-tls
          namespace: ingress-nginx
          pods: {app: ingress}
          blocks: [10.9.0.0/16]
          annotations: {cert-manager.io/cluster-issuer: letsencrypt}
        node_selector: {kubernetes.io/arch: amd64}
        tolerations: [{key: dedicated, value: agents, effect: NoSchedule}, {operator: Exists}]
        gpu: {resource: amd.com/gpu, count: 2, runtime_class: cards, node_selector: {card: big}}
        spread: topology.kubernetes.io/zone
        storage_class: fast
        shared_storage_class: shared
        external_secrets: {store: vault, kind: SecretStore, refresh: 1d, keys: {api: {key: agents, property: api}}}
        pull_secrets: [registry]
        registry: registry.example.org/agents/
        priority_class: agents
  secrets:
    api: {from: env, name: NEVER_SET, hosts: [api.openai.com]}
    other: {from: env, name: NEVER_SET, hosts: [api.mistral.ai]}
  models:
    cloud: {task: chat, provider: openai, model: m, secret: api}
    more: {task: chat, provider: mistral, model: m, secret: other}
"""


def compiled(folder: Path, text: str) -> Blueprint:
    (folder / "agent.yaml").write_text(text, encoding="utf-8")
    return compile_blueprint(load([folder / "agent.yaml"], env={}), RESOLVED)


def test_every_word_about_a_cluster_is_in_the_blueprint(tmp_path: Path) -> None:
    assert compiled(tmp_path, _EVERYTHING).cluster == Cluster(
        ingress=Door(
            kind="ingress",
            host="atlas.example.org",
            tls="atlas-tls",
            class_name="nginx",
            namespace="ingress-nginx",
            pods={"app": "ingress"},
            blocks=("10.9.0.0/16",),
            annotations={"cert-manager.io/cluster-issuer": "letsencrypt"},
        ),
        node_selector={"kubernetes.io/arch": "amd64"},
        tolerations=(Toleration("dedicated", "Equal", "agents", "NoSchedule"), Toleration("", "Exists")),
        cards=Cards("amd.com/gpu", 2, "cards", {"card": "big"}),
        spread=("topology.kubernetes.io/zone",),
        storage_class="fast",
        shared_storage_class="shared",
        # The operator's durations know no days.
        secret_store=SecretStore("vault", "SecretStore", "86400s"),
        pull_secrets=("registry",),
        registry="registry.example.org/agents",
        priority_class="agents",
    )


def test_a_secret_that_somebody_else_brings_is_known_by_its_entry_there(tmp_path: Path) -> None:
    remote = {one.name: one.remote for one in compiled(tmp_path, _EVERYTHING).secrets if one.brought}
    assert remote == {"api": ("agents", "api"), "other": ("other", "")}


def test_the_gateway_answers_to_the_name_that_leads_to_it(tmp_path: Path) -> None:
    content = compiled(tmp_path, _EVERYTHING).service("gateway").config.content
    assert isinstance(content, Mapping)
    assert content["names"] == ["atlas.example.org"]


@pytest.mark.parametrize("cluster", ["{}", "{spread: []}"])
def test_what_nobody_says_of_a_cluster_is_what_every_cluster_has(cluster: str, tmp_path: Path) -> None:
    text = _EVERYTHING[: _EVERYTHING.index("      cluster:")] + f"      cluster: {cluster}\n"
    found = compiled(tmp_path, text)
    assert found.cluster == (Cluster() if cluster == "{}" else Cluster(spread=()))
    content = found.service("gateway").config.content
    assert isinstance(content, Mapping)
    assert "names" not in content
