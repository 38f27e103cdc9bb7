"""Where pods run, how many of them, what they are given: what a manifest says of its cluster, in the rendered files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from paictl.blueprint.places import Cluster
from paictl.blueprint.types import Blueprint, Scale
from tests.render.blueprints import EVERYTHING, QUICKSTART, ROUTED
from tests.render.reading import objects

Manifest = dict[str, Any]


def found(blueprint: Blueprint) -> dict[str, Manifest]:
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in objects(blueprint)}


def pod(blueprint: Blueprint, owner: str) -> Manifest:
    spec: Manifest = found(blueprint)[owner]["spec"]["template"]["spec"]
    return spec


def scaled(scale: Scale, **cluster: Any) -> Blueprint:
    """The quickstart with its chat model so many times."""
    chat = replace(QUICKSTART.service("model-chat"), scale=scale)
    others = [one for one in QUICKSTART.services if one.name != "model-chat"]
    return replace(QUICKSTART, services=(chat, *others), cluster=Cluster(**cluster))


@pytest.mark.parametrize(
    ("scale", "replicas", "grows", "budget"),
    [
        (Scale(), 1, None, False),
        (Scale(3, 3), 3, None, True),
        (Scale(1, 4, 80), None, (1, 4, 80), True),
        (Scale(2, 5, 70), None, (2, 5, 70), True),
    ],
)
def test_how_many_run_is_said_by_one_alone(
    scale: Scale, replicas: int | None, grows: tuple[int, int, int] | None, *, budget: bool
) -> None:
    every = found(scaled(scale))
    assert every["Deployment/model-chat"]["spec"].get("replicas") == replicas
    scaler = every.get("HorizontalPodAutoscaler/model-chat", {}).get("spec")
    if scaler is None:
        assert grows is None
    else:
        [metric] = scaler["metrics"]
        told = (scaler["minReplicas"], scaler["maxReplicas"], metric["resource"]["target"]["averageUtilization"])
        assert told == grows
        assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "model-chat"}
    assert ("PodDisruptionBudget/model-chat" in every) is budget


def test_several_of_a_model_share_a_node_unless_its_volume_is_shared() -> None:
    together = pod(scaled(Scale(2, 2)), "Deployment/model-chat")
    [rule] = together["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert "topologySpreadConstraints" not in together
    shared = scaled(Scale(2, 2), shared_storage_class="nfs", storage_class="fast")
    apart = pod(shared, "Deployment/model-chat")
    assert "affinity" not in apart
    assert [one["topologyKey"] for one in apart["topologySpreadConstraints"]] == list(Cluster().spread)
    claims = {one["metadata"]["name"]: one["spec"] for one in objects(shared) if one["kind"] == "PersistentVolumeClaim"}
    assert (claims["models-chat"]["accessModes"], claims["models-chat"]["storageClassName"]) == (
        ["ReadWriteMany"],
        "nfs",
    )
    assert (claims["gateway"]["accessModes"], claims["gateway"]["storageClassName"]) == (["ReadWriteOnce"], "fast")


def test_one_alone_is_spread_over_nothing() -> None:
    assert not {"affinity", "topologySpreadConstraints"} & set(pod(QUICKSTART, "Deployment/model-chat"))


def test_each_of_several_has_volumes_of_its_own_that_go_with_it() -> None:
    every = found(EVERYTHING)
    writer = every["StatefulSet/model-writer"]["spec"]
    [template] = writer["volumeClaimTemplates"]
    assert template["metadata"]["name"] == "model-writer"
    assert writer["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Delete", "whenScaled": "Delete"}
    assert "PersistentVolumeClaim/model-writer" not in every
    assert "persistentVolumeClaimRetentionPolicy" not in every["StatefulSet/state"]["spec"]
    keep = every["PersistentVolumeClaim/state-pgvector"]["metadata"]["annotations"]
    assert "Prune=false" in keep["argocd.argoproj.io/sync-options"]


def test_what_holds_no_data_is_replaced_without_a_gap_and_what_holds_some_at_once() -> None:
    gateway = found(EVERYTHING)["Deployment/gateway"]["spec"]
    assert gateway["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    [container] = gateway["template"]["spec"]["containers"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert gateway["template"]["spec"]["terminationGracePeriodSeconds"] == pause + 10
    alone = found(QUICKSTART)["StatefulSet/gateway"]["spec"]["template"]["spec"]
    assert "lifecycle" not in alone["containers"][0]
    assert alone["terminationGracePeriodSeconds"] == 10


def test_cards_are_asked_for_where_they_are_and_for_nobody_else() -> None:
    chat = pod(EVERYTHING, "Deployment/model-chat")
    assert chat["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert chat["runtimeClassName"] == "nvidia"
    assert chat["nodeSelector"] == {"kubernetes.io/arch": "amd64", "nvidia.com/gpu.product": "NVIDIA-L4"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists"} in chat["tolerations"]
    embed = pod(EVERYTHING, "Deployment/model-embed")
    assert "nvidia.com/gpu" not in str(embed)
    assert "runtimeClassName" not in embed


def test_the_files_of_a_model_are_fetched_to_where_its_server_can_run() -> None:
    every = found(EVERYTHING)
    [fetch] = [one["spec"]["template"]["spec"] for name, one in every.items() if name.startswith("Job/fetch-chat")]
    server = pod(EVERYTHING, "Deployment/model-chat")
    assert fetch["nodeSelector"] == server["nodeSelector"]
    assert fetch["tolerations"] == server["tolerations"]


def test_every_pod_is_placed_as_the_cluster_wants_it() -> None:
    every = [one for one in objects(EVERYTHING) if one["kind"] in {"Deployment", "StatefulSet", "Job"}]
    assert len(every) == 8
    taint = {"key": "dedicated", "operator": "Equal", "value": "agents", "effect": "NoSchedule"}
    for one in every:
        spec = one["spec"]["template"]["spec"]
        assert spec["priorityClassName"] == "agents"
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
        assert spec["nodeSelector"]["kubernetes.io/arch"] == "amd64"
        assert taint in spec["tolerations"]


def test_our_own_image_comes_from_the_clusters_registry_and_those_of_others_from_theirs() -> None:
    images = {
        container["image"].rpartition(":")[0].partition("@")[0]
        for one in objects(EVERYTHING)
        if one["kind"] in {"Deployment", "StatefulSet", "Job"}
        for container in (
            *one["spec"]["template"]["spec"].get("initContainers", []),
            *one["spec"]["template"]["spec"]["containers"],
        )
    }
    assert images == {
        "registry.example.org/agents/paictl/atlas",
        "docker.io/pgvector/pgvector:pg17",
        "docker.io/ollama/ollama:0.9",
    }


def test_software_of_others_runs_as_its_makers_say_and_is_watched_as_they_watch_it() -> None:
    state = pod(EVERYTHING, "StatefulSet/state")
    assert state["securityContext"]["runAsUser"] == state["securityContext"]["fsGroup"] == 999
    [postgres] = state["containers"]
    assert postgres["args"] == ["postgres", "-c", "fsync=on"]
    assert "command" not in postgres
    assert postgres["env"] == [{"name": "POSTGRES_PASSWORD_FILE", "value": "/srv/paictl/secrets/state-password"}]
    assert postgres["readinessProbe"]["exec"]["command"][0] == "pg_isready"
    mounts = {one["mountPath"]: one["name"] for one in postgres["volumeMounts"]}
    assert mounts["/var/lib/postgresql/data"] == "state-pgvector"
    assert {"/tmp", "/var/run/postgresql", "/srv/paictl/secrets"} <= set(mounts)


def test_no_dollar_of_a_command_is_taken_for_one_of_kubernetes() -> None:
    [writer] = pod(EVERYTHING, "StatefulSet/model-writer")["containers"]
    upstream = EVERYTHING.service("model-writer").upstream
    assert upstream is not None
    # https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container: $$ is one.
    assert tuple(one.replace("$$", "$") for one in writer["args"]) == upstream.command
    assert writer["args"] != list(upstream.command)


def test_who_listens_on_nothing_is_ready_as_long_as_it_is_connected() -> None:
    [agent] = pod(QUICKSTART, "StatefulSet/agent")["containers"]
    assert agent["env"] == [{"name": "PAICTL_HEALTH", "value": "connected:8701"}]
    assert agent["readinessProbe"]["exec"]["command"][-1] == "/opt/paictl/health.py"
    assert not {"livenessProbe", "startupProbe"} & set(agent)


def test_whoever_syncs_in_waves_never_waits_for_a_volume_that_nobody_uses_yet() -> None:
    for blueprint in (QUICKSTART, EVERYTHING, ROUTED):
        every = found(blueprint)
        waves = {
            name: int(one["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", "0"))
            for name, one in every.items()
        }
        assert waves[f"Namespace/{blueprint.namespace or blueprint.agent}"] < 0
        for name, one in every.items():
            volumes = one["spec"]["template"]["spec"]["volumes"] if "template" in one.get("spec", {}) else []
            claims = [
                volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume
            ]
            assert all(waves[f"PersistentVolumeClaim/{claim}"] <= waves[name] for claim in claims)
        users = {
            claim: min(waves[name] for name, one in every.items() if f"'claimName': '{claim}'" in str(one))
            for claim in (name.partition("/")[2] for name in every if name.startswith("PersistentVolumeClaim/"))
        }
        assert {claim: waves[f"PersistentVolumeClaim/{claim}"] for claim in users} == users
